#!/usr/bin/env bash
# Checks what no compiler checks: only src/sync/ chooses the primitives, documents name files and tests that exist, and
# no note of unfinished work is left.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

# report TITLE FINDINGS
report() {
    if [ -n "$2" ]; then
        printf 'FAILED: %s\n%s\n' "$1" "$2"
        failed=1
    fi
}

# code FILE...: prints the code as FILE:LINE:TEXT, without comments and without a module of tests at the end of a file.
code() {
    awk '
        FNR == 1 { tests = 0; gated = 0 }
        # Such a module is the last item of its file.
        gated && /^(pub(\([a-z]+\))? )?mod [a-z_]+ \{/ { tests = 1 }
        { gated = /^#\[cfg\((all\()?test[,)]/ }
        tests || /^[ \t]*\/\// { next }
        { sub(/[ \t]\/\/.*/, ""); print FILENAME ":" FNR ":" $0 }
    ' "$@"
}

# Only src/sync/ decides whether a primitive is the real one or loom's. Items that no model uses may come from std:
# `thread::panicking`, `thread_local!`.
primitives='(std|core)::(sync|hint::spin_loop|cell::UnsafeCell)'
primitives+='|(std|core)::\{.*\b(sync|UnsafeCell)\b'
primitives+='|\bthread::(spawn|scope|sleep|yield_now|park|park_timeout|current|Builder|JoinHandle|Thread)\b'
primitives+='|std::thread::\{|\bparking_lot(_core)?::|\bcrossbeam[a-z_]*::|(^|[^_a-z])loom::'
files=()
while IFS= read -r file; do
    files+=("$file")
done < <(find src -name '*.rs' ! -path 'src/models/*' ! -path "src/sync/*" ! -name tests.rs | sort)
report "a primitive that does not come from src/sync/" \
    "$(code "${files[@]}" | grep -E "$primitives" | grep -vE 'crate::sync|super::sync' || true)"

# Each ordering stronger than Relaxed has a mutant that a model kills (ci/loom-mutants.sh). If it has none, the comment
# above it, or the top of the file, gives the reason after "No mutant:".
unmodelled() {
    awk '
        FNR == 1 { tests = 0; gated = 0; excused = 0; file = 0; comment = 0 }
        gated && /^(pub(\([a-z]+\))? )?mod [a-z_]+ \{/ { tests = 1 }
        { gated = /^#\[cfg\((all\()?test[,)]/ }
        /^\/\/!.*No mutants:/ { file = 1 }
        /^[ \t]*\/\// {
            if (!comment) excused = 0
            comment = 1
            if (/No mutant:/) excused = 1
            next
        }
        { comment = 0 }
        tests || file || /\/\/ mutant: / { next }
        /Ordering::(Acquire|Release|AcqRel)|[(, ](Acquire|Release|AcqRel)\)|[^_]fence\(Ordering::SeqCst\)/ && !excused { print FILENAME ":" FNR ":" $0 }
        # A comment is about the statement below it.
        /;[ \t]*$/ { excused = 0 }
    ' "$@"
}
report "an ordering without a mutant or a reason" "$(unmodelled "${files[@]}" src/sync/*.rs)"

# outdated FILE ROW PLAIN POOLED: prints the row of a table of instructions if it does not repeat these lines of
# ci/gates.txt. PLAIN may be `-`, for an empty cell.
outdated() {
    awk -v row="| $2 |" -v plain="$3" -v pooled="$4" '
        FNR == NR { count[$1] = sprintf("%.0f", $2); next }
        index($0, row) == 1 {
            found = 1
            n = split(substr($0, length(row) + 1), cells, "|")
            ok = n > 1 && cells[1] + 0 == count[plain] + 0 && cells[2] + 0 == count[pooled] && count[pooled] > 0
            if (!ok) print FILENAME ":" FNR ": not " count[plain] " and " count[pooled] ": " $0
        }
        END { if (!found) print FILENAME ": no row " row }
    ' ci/gates.txt "$1"
}
while IFS='~' read -r file row plain pooled; do
    report "a table that does not repeat ci/gates.txt" "$(outdated "$file" "$row" "$plain" "$pooled")"
done <<'ROWS'
README.md~`Vec<u8>`~h1.plain~h1.repool
README.md~`Vec<u8>`, dropped on another thread~xt.plain~xt.repool
README.md~`BytesMut`; `Buffer`~h1.plainbuffer~h1.buffer
README.md~`BytesMut`; `Buffer`, frozen to `Bytes`~h1.plainfreeze~h1.freeze
src/guide/choose.md~`Vec<u8>`~h1.plain~h1.repool
src/guide/choose.md~`Vec<u8>`, dropped on another thread~xt.plain~xt.repool
src/guide/choose.md~`BytesMut` and [`Buffer`](crate::Buffer)~h1.plainbuffer~h1.buffer
src/guide/choose.md~`BytesMut` and [`Buffer`](crate::Buffer), frozen to `Bytes`~h1.plainfreeze~h1.freeze
src/guide/choose.md~a type with its own [`Recycle`](crate::Recycle)~-~h1.user
src/guide/choose.md~a type with a custom `.reset(..)`~-~h1.custom
src/guide/choose.md~a new `Bump` and an [`Arena`](crate::Arena), one allocation in it~h1.plainarena~h1.arena
ROWS

# unresolved FILE: prints the files and the tests that a document names and that do not exist. A file may be named by
# the end of its path.
unresolved() {
    local line name
    # shellcheck disable=SC2016 # backticks of Markdown
    grep -noE '`[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?`' "$1" | tr -d '`' | while IFS=: read -r line name; do
        case "$name" in
        *.rs | *.sh | *.py | src/* | tests/* | ci/* | docs/* | fuzz/* | benches/* | examples/*)
            grep -qE "(^|/)${name%/}(/|\$)" <<<"$all" || echo "$1:$line: no file $name" ;;
        */*) ;;
        *_*_*_*)
            grep -rqE "fn $name\b" src tests examples benches/src fuzz || echo "$1:$line: no test $name" ;;
        esac
    done
}
if git rev-parse --git-dir >/dev/null 2>&1; then
    all=$(git ls-files)
else
    all=$(find . \( -name target -o -name .git \) -prune -o -type f -print)
fi
for document in README.md DESIGN.md docs/verification.md benches/README.md; do
    report "a document names what does not exist" "$(unresolved "$document")"
done

# No note of unfinished work is left. The words are split, so that this file does not match itself.
marks="\\b(TO""DO|FIX""ME|XX""X)\\b|\\b(to""do|unimple""mented)!"
if git rev-parse --git-dir >/dev/null 2>&1; then
    tracked=$(git ls-files -- '*.rs' '*.md' '*.sh' .ci)
else
    tracked=$(find . \( -name target -o -name .git \) -prune -o \
        \( -name '*.rs' -o -name '*.md' -o -name '*.sh' -o -path './.ci/*' \) -type f -print)
fi
report "unfinished work" "$(xargs -r -d '\n' grep -nE "$marks" <<<"$tracked" 2>/dev/null || true)"

# Scripts say at the top what they do, stop at the first error, and are executable.
for script in ci/*.sh .ci/run; do
    case "$(sed -n 2p "$script")" in
    '# '*) ;;
    *) report "$script does not say what it does" "line 2 is not a comment" ;;
    esac
    grep -q '^set -euo pipefail$' "$script" || report "$script continues after an error" "no set -euo pipefail"
    [ -x "$script" ] || report "$script is not executable" "chmod +x"
done
if command -v shellcheck >/dev/null; then
    shellcheck ci/*.sh .ci/run || failed=1
else
    echo "shellcheck is not installed: scripts not checked"
fi
exit "$failed"
