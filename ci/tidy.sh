#!/usr/bin/env bash
# What no compiler checks: one file chooses the primitives, and nothing is left to do.
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

# code FILE...: the lines that are neither comments nor in a module of tests at the foot of a file,
# as FILE:LINE:TEXT. A comment behind code goes as well.
code() {
    awk '
        FNR == 1 { tests = 0; gated = 0 }
        # Such a module is the last thing in its file.
        gated && /^(pub(\([a-z]+\))? )?mod [a-z_]+ \{/ { tests = 1 }
        { gated = /^#\[cfg\((all\()?test[,)]/ }
        tests || /^[ \t]*\/\// { next }
        { sub(/[ \t]\/\/.*/, ""); print FILENAME ":" FNR ":" $0 }
    ' "$@"
}

# Only src/sync/ says whether a primitive is the real one or loom's. What never enters a model
# may name std: `thread::panicking`, `thread_local!`.
primitives='(std|core)::(sync|hint::spin_loop|cell::UnsafeCell)'
primitives+='|(std|core)::\{.*\b(sync|UnsafeCell)\b'
primitives+='|\bthread::(spawn|scope|sleep|yield_now|park|park_timeout|current|Builder|JoinHandle|Thread)\b'
primitives+='|std::thread::\{|\bparking_lot(_core)?::|\bcrossbeam[a-z_]*::|(^|[^_a-z])loom::'
files=()
while IFS= read -r file; do
    files+=("$file")
done < <(find src -name '*.rs' ! -path 'src/models/*' ! -path "src/sync/*" | sort)
report "primitives are src/sync/'s to choose" \
    "$(code "${files[@]}" | grep -E "$primitives" | grep -vE 'crate::sync|super::sync' || true)"

# Nothing is left to do. The words are put together so that this file does not find itself.
marks="\\b(TO""DO|FIX""ME|XX""X)\\b|\\b(to""do|unimple""mented)!"
if git rev-parse --git-dir >/dev/null 2>&1; then
    tracked=$(git ls-files -- '*.rs' '*.md' '*.sh' .ci)
else
    tracked=$(find . \( -name target -o -name .git \) -prune -o \
        \( -name '*.rs' -o -name '*.md' -o -name '*.sh' -o -path './.ci/*' \) -type f -print)
fi
report "left to do" "$(xargs -r -d '\n' grep -nE "$marks" <<<"$tracked" 2>/dev/null || true)"

# Scripts start with what they are, stop at the first error, and can be run.
for script in ci/*.sh .ci/run; do
    case "$(sed -n 2p "$script")" in
    '# '*) ;;
    *) report "$script does not say what it is" "line 2 is no comment" ;;
    esac
    grep -q '^set -euo pipefail$' "$script" || report "$script goes on after an error" "no set -euo pipefail"
    [ -x "$script" ] || report "$script cannot be run" "chmod +x"
done
if command -v shellcheck >/dev/null; then
    shellcheck ci/*.sh .ci/run || failed=1
else
    echo "shellcheck is not installed: scripts not checked"
fi
exit "$failed"
