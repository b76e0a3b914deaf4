#!/usr/bin/env bash
# Compares exact counts with the baselines of ci/gates.txt, and fails if one is more than 2 % above its baseline.
#
# callgrind runs each scenario of benches/src/bin/counts, and counts only inside its window. The counts are per object:
# instructions, less those of the empty loop; locked instructions and fences; calls of the global allocator; objects
# created in 1000 gets. Every run of one binary gives the same counts. Another compiler gives others, so gates.txt names
# the compiler.
# Usage: ci/gates.sh [--update] [NAME ...]   (names as in gates.txt, such as xt.freeze or size.cache)
#   --update writes the counts to gates.txt, so that the commit shows the change.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(uname -m)" != x86_64 ]; then
    echo "skipped: knows the instructions of x86-64 only"
    exit 0
fi

table=ci/gates.txt
update=
if [ "${1:-}" = --update ]; then
    update=yes
    shift
fi
target="${CARGO_TARGET_DIR:-$PWD/benches/target}"
work="$target/gates"
mkdir -p "$work"
CARGO_TARGET_DIR="$target" cargo build --quiet --release --locked --manifest-path benches/Cargo.toml \
    --no-default-features --bin counts --bin hit_path --bin sizes
for binary in counts hit_path; do
    objdump -d --no-show-raw-insn "$target/release/$binary" >"$work/$binary.disassembly"
done

# callgrind BINARY FUNCTION OUT ARGUMENT...: counts what runs inside FUNCTION, and writes the program's output to
# OUT.log.
callgrind() {
    local binary=$1 function=$2 out=$3
    shift 3
    valgrind --tool=callgrind --dump-instr=yes --compress-strings=no --compress-pos=no \
        --collect-atstart=no --toggle-collect="$function" --callgrind-out-file="$out" \
        "$target/release/$binary" "$@" >"$out.log" 2>&1 || {
        cat "$out.log" >&2
        return 1
    }
}

# totals BINARY OUT: prints "instructions locked allocations" of all that was counted.
totals() {
    awk -v binary="$target/release/$1" '
        FNR == 1 { file++ }
        # The entry points of the allocator, and the instructions that are locked or a fence.
        file == 1 && /^[0-9a-f]+ <.*___?rust_(alloc|alloc_zeroed|realloc)>:/ {
            address = $1
            sub(/^0+/, "", address)
            entry[address] = 1
        }
        file == 1 && $1 ~ /^[0-9a-f]+:$/ {
            if ($2 == "lock" || $2 ~ /^[lms]fence$/ || ($2 ~ /^xchg/ && $0 ~ /\(/))
                locked[substr($1, 1, length($1) - 1)] = 1
        }
        file == 1 { next }
        /^ob=/ { object = substr($0, 4) }
        # The next line is the cost of the callee, which is counted where it was executed.
        /^calls=/ { getline; next }
        /^0x/ {
            instructions += $3
            if (object != binary) next
            at = substr($1, 3)
            if (at in locked) atomic += $3
            if (at in entry) allocations += $3
        }
        END { print instructions + 0, atomic + 0, allocations + 0 }
    ' "$work/$1.disassembly" "$2"
}

# scenario NAME: prints "instructions locked allocations created": the first three per object, the last in 1000 gets.
scenario() {
    local empty="${1%%.*}.none" name counted
    for name in "$empty" "$1"; do
        [ -s "$work/$name.totals" ] && [ "$name" = "$empty" ] && continue
        callgrind counts counts_window "$work/$name" "$name"
        counted=$(totals counts "$work/$name")
        sed -n 's/^gets \([0-9]*\) created \([0-9]*\)$/\1 \2/p' "$work/$name.log" |
            awk -v counted="$counted" '{ print counted, $1, $2 }' >"$work/$name.totals"
        [ -s "$work/$name.totals" ] || { cat "$work/$name.log" >&2; return 1; }
    done
    awk 'NR == 1 { empty = $1; next }
        { printf "%.1f %.3f %.3f %.2f\n", ($1 - empty) / $4, $2 / $4, $3 / $4, 1000 * $5 / $4 }
    ' "$work/$empty.totals" "$work/$1.totals"
}

# tight LOOP: the same for a loop of hit_path, from the difference of two numbers of rounds.
tight() {
    local few=1000 many=11000
    callgrind hit_path "$1" "$work/$1.few" "$1" "$few"
    callgrind hit_path "$1" "$work/$1.many" "$1" "$many"
    { totals hit_path "$work/$1.few"; totals hit_path "$work/$1.many"; } |
        awk -v rounds="$((many - few))" 'NR == 1 { a = $1; b = $2; c = $3; next }
            { printf "%.1f %.3f %.3f -\n", ($1 - a) / rounds, ($2 - b) / rounds, ($3 - c) / rounds }'
}

rm -f "$work"/*.totals
"$target/release/sizes" >"$work/sizes"

# count NAME: the counts of this tree, in the columns of the table.
count() {
    case "$1" in
    size.*) awk -v name="${1#size.}" '$1 == name { print $2, "-", "-", "-" }' "$work/sizes" ;;
    hit.*) tight "repool_bench_${1#hit.}" ;;
    *) scenario "$1" ;;
    esac
}

# Controls: a plain vector makes one allocator call, and the freeze of a plain buffer makes two, with the locked
# instructions of `bytes`.
read -r _ locked allocations _ <<<"$(scenario h1.plain)"
if [ "$locked $allocations" != "0.000 1.000" ]; then
    echo "FAILED: h1.plain makes $allocations allocator calls and $locked locked instructions," \
        "and not 1 and 0: the counting is wrong"
    exit 1
fi
read -r _ locked allocations _ <<<"$(scenario h1.plainfreeze)"
if ! awk -v l="$locked" -v a="$allocations" 'BEGIN { exit !(l >= 1 && a == 2) }'; then
    echo "FAILED: h1.plainfreeze makes $allocations allocator calls and $locked locked instructions:" \
        "the counting is wrong"
    exit 1
fi
echo "controls: allocator calls and locked instructions of plain code are right"

# setter NAME: prints the commit that set the baseline of NAME, from the history of the table.
setter() {
    local line
    line=$(grep -nE "^${1//./\\.} " "$table" | cut -d : -f 1)
    git blame --porcelain -L "$line,$line" -- "$table" 2>/dev/null |
        awk 'NR == 1 { hash = substr($1, 1, 12) } $1 == "summary" { $1 = ""; name = $0 }
            END {
                if (hash == "") print "unknown: no history here"
                else if (hash ~ /^0+$/) print "not committed yet"
                else print hash name
            }'
}

compiler=$(rustc -V | awk '{ print $2 }')
recorded=$(sed -n 's/^# rustc //p' "$table")
note=
[ "$compiler" = "$recorded" ] || note=" (counted with rustc $compiler, baselines are of $recorded)"

figures=(instructions "locked instructions" "allocator calls" "created in 1000")
failed=0
updated="$work/updated"
: >"$updated"
while IFS= read -r row; do
    name=${row%% *}
    case "$row" in
    '#'* | '')
        if [ -n "$update" ] && [[ $row == '# rustc '* ]]; then row="# rustc $compiler"; fi
        printf '%s\n' "$row" >>"$updated"
        continue
        ;;
    esac
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
        printf '%s\n' "$row" >>"$updated"
        continue
    fi
    counted=$(count "$name")
    if [ -z "$counted" ]; then
        echo "FAILED: $name: nothing was counted"
        failed=1
        continue
    fi
    read -r -a is <<<"$counted"
    read -r -a base <<<"${row#* }"
    printf '%-24s %12s %9s %9s %9s\n' "$name" "${is[@]}" >>"$updated"
    line=$(printf '%-24s' "$name")
    for at in 0 1 2 3; do
        [ "${base[at]}" != - ] || continue
        what=${figures[at]}
        [[ $name != size.* ]] || what=bytes
        verdict=$(awk -v is="${is[at]}" -v base="${base[at]}" 'BEGIN {
            # Plus half a digit of rounding, so that a baseline of zero can be met.
            slack = 0.02 * base + 0.0051
            if (is > base + slack) print "worse"
            else if (is < base - slack) print "better"
            else print "same"
        }')
        by=$(awk -v is="${is[at]}" -v base="${base[at]}" 'BEGIN {
            if (base > 0) printf "%+.1f %%", 100 * (is / base - 1); else printf "%+g", is - base }')
        case $verdict in
        worse)
            line+="  $what ${is[at]}, baseline ${base[at]} ($by)"
            [ -z "$update" ] || continue
            failed=1
            echo "FAILED: $name: $what ${is[at]}, $by above the baseline ${base[at]}" \
                "of $(setter "$name")$note"
            ;;
        better) line+="  $what ${is[at]}, baseline ${base[at]} ($by): record it with --update" ;;
        same) line+="  $what ${is[at]}" ;;
        esac
    done
    echo "$line"
done <"$table"
if [ -n "$update" ]; then
    cp "$updated" "$table"
    echo "wrote $table"
fi
exit "$failed"
