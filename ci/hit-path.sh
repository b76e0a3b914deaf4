#!/usr/bin/env bash
# Counts the instructions of a hit, and checks each of them: no lock, no fence, no call.
#
# callgrind runs a loop for two numbers of rounds. An instruction whose counts differ belongs to a round, however rarely
# it runs. The sum of the differences is the cost of a round. The disassembly says what each instruction is. Control
# loops, which do what is forbidden, run first and must be rejected.
# Usage: ci/hit-path.sh [-v]   (-v lists the instructions of the hit path)
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(uname -m)" != x86_64 ]; then
    echo "skipped: knows the instructions of x86-64 only"
    exit 0
fi

# Both have the same length: a longer argument moves the environment, which changes what `getenv` executes.
few=01000
many=11000
target="${CARGO_TARGET_DIR:-$PWD/benches/target}"
work="$target/hit-path"
mkdir -p "$work"

CARGO_TARGET_DIR="$target" cargo build --quiet --release --locked \
    --manifest-path benches/Cargo.toml --no-default-features --bin hit_path
binary="$target/release/hit_path"
objdump -d --no-show-raw-insn "$binary" >"$work/disassembly"

# profile LOOP ROUNDS: callgrind's counts for each instruction of the loop and of all that it calls.
profile() {
    valgrind --tool=callgrind --dump-instr=yes --compress-strings=no --compress-pos=no \
        --collect-atstart=no --toggle-collect="$1" --callgrind-out-file="$work/$1.$2" \
        "$binary" "$1" "$2" >"$work/$1.$2.log" 2>&1 || {
        cat "$work/$1.$2.log"
        return 1
    }
}

# inspect LOOP: writes what a round executes to LOOP.rounds, as "where count instruction" lines.
inspect() {
    profile "$1" "$few"
    profile "$1" "$many"
    awk -v binary="$binary" -v rounds="$((10#$many - 10#$few))" '
        FNR == 1 { file++ }
        file == 1 {
            if ($1 ~ /^[0-9a-f]+:$/) {
                address = substr($1, 1, length($1) - 1)
                $1 = ""
                instruction[binary " " address] = substr($0, 2)
            }
            next
        }
        /^ob=/ { object = substr($0, 4) }
        /^fn=/ { name = substr($0, 4) }
        # The next line is the cost of the callee, which is counted where it was executed.
        /^calls=/ { getline; next }
        /^0x/ {
            at = object " " substr($1, 3)
            where[at] = name
            if (!(at in few)) few[at] = many[at] = 0
            if (file == 2) few[at] += $3; else many[at] += $3
        }
        END {
            for (at in where) {
                if (many[at] == few[at]) continue
                text = at in instruction ? instruction[at] : "unknown, in " at
                split(at, parts, " ")
                printf "%s\t%s\t%.4f\t%s\n", parts[2], where[at], (many[at] - few[at]) / rounds, text
            }
        }
    ' "$work/disassembly" "$work/$1.$few" "$work/$1.$many" | sort >"$work/$1.rounds"
    if [ ! -s "$work/$1.rounds" ]; then
        echo "$1: callgrind has counted nothing" >&2
        return 1
    fi
}

# cost LOOP [PAIRS IN A ROUND]: instructions for each pair.
cost() {
    awk -F '\t' -v pairs="${2:-1}" '{ sum += $3 } END { printf "%.1f", sum / pairs }' "$work/$1.rounds"
}

# offences LOOP [calls]: the instructions that do not belong on a hit path. With "calls", calls are allowed, and the
# other rules apply to the callees.
offences() {
    awk -F '\t' -v loop="$1" -v calls="${2:-}" '
        { why = "" }
        calls == "" && $2 != loop { why = "outside the loop, in " $2 }
        calls == "" && $4 ~ /^call/ { why = "call" }
        $4 ~ /^unknown/ { why = "not in the binary" }
        $4 ~ /^(syscall|sysenter|cpuid|serialize|int )/ { why = "system call, or serializes" }
        $4 ~ /^[lms]fence/ { why = "fence" }
        $4 ~ /^xchg.*\(/ { why = "atomic exchange" }
        $4 ~ /(^| )lock( |$)/ { why = "atomic read-modify-write" }
        why != "" { print "    " $1 " " $4 "    (" why ")" }
    ' "$work/$1.rounds"
}

failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}

# expect_offence LOOP PATTERN [calls]: fails unless the checker rejects the loop for this reason.
expect_offence() {
    local found
    found=$(offences "$1" "${3:-}")
    if ! grep -q "$2" <<<"$found"; then
        fail "$1 was not rejected (${3:-no calls}): the checker checks nothing"
        echo "$found"
    fi
}

for control in lock xchg fence mfence call rare; do
    inspect "control_$control"
done
for calls in "" calls; do
    expect_offence control_lock "lock.*(atomic read-modify-write)" "$calls"
    expect_offence control_xchg "xchg.*(atomic exchange)" "$calls"
    expect_offence control_fence "(atomic read-modify-write)\|(fence)" "$calls"
    expect_offence control_mfence "mfence.*(fence)" "$calls"
    expect_offence control_rare "lock.*(atomic read-modify-write)" "$calls"
done
expect_offence control_call "call.*(call)"
expect_offence control_call "(outside the loop"
# A loop must not be rejected without a reason.
if [ -n "$(offences control_call calls)" ]; then
    fail "control_call was rejected with calls allowed"
fi
# The pool without a process-wide barrier: each get and each drop has a real fence.
export REPOOL_BARRIER=off
inspect repool_bench_vec
expect_offence repool_bench_vec "(atomic read-modify-write)\|(fence)"
inspect repool_bench_buffer
expect_offence repool_bench_buffer "(atomic read-modify-write)\|(fence)" calls
unset REPOOL_BARRIER
[ "$failed" -eq 1 ] || echo "controls: each was rejected for what it does"

# gate LOOP LIMIT NAME [calls] [OTHERS] [PAIRS IN A ROUND]: fails above the limit, and for offences. Functions whose
# names match OTHERS may do anything.
gate() {
    inspect "$1"
    local instructions found
    instructions=$(cost "$1" "${6:-1}")
    if [ -n "${5:-}" ]; then
        awk -F '\t' -v others="$5" '$2 !~ others' "$work/$1.rounds" >"$work/$1.ours.rounds"
        found=$(offences "$1.ours" "${4:-}")
    else
        found=$(offences "$1" "${4:-}")
    fi
    echo "$3: $instructions instructions a pair (limit $2)"
    if awk -v is="$instructions" -v limit="$2" 'BEGIN { exit !(is > limit) }'; then
        fail "$3: $instructions instructions a pair, more than $2"
    fi
    if [ -n "$found" ]; then
        fail "$3: what does not belong on the hit path:"
        echo "$found"
    fi
}

gate repool_bench_vec 64 "Vec<u8>, get + write 64 bytes + drop"
gate repool_bench_user 96 "a type with a Recycle of its own, the same" calls
for order in fifo lifo; do
    inspect "repool_bench_held_$order"
    echo "Vec<u8>, 8 held, $order: $(cost "repool_bench_held_$order" 8) instructions a pair"
done
gate repool_bench_user_held 133 "the same, 8 held" calls "" 8
gate repool_bench_buffer 146 "4 KiB buffer, get + write 64 bytes + drop" calls memcpy
inspect repool_bench_bare
gate repool_bench_frozen 365 "the same, frozen ($(cost repool_bench_bare) of it bytes' own)" calls "memcpy|^<?bytes::"
inspect repool_bench_bare_arena
gate repool_bench_arena 122 "arena, get + allocate 64 bytes + drop ($(cost repool_bench_bare_arena) of it bumpalo's own)" calls "^<?bumpalo::"
inspect repool_bench_arena_off
inspect repool_bench_plain_arena
echo "for comparison: pool switched off $(cost repool_bench_arena_off), no pool $(cost repool_bench_plain_arena)"
inspect repool_bench_cell
inspect repool_bench_plain
echo "for comparison: thread-local cell $(cost repool_bench_cell), malloc $(cost repool_bench_plain)"

if [ "${1:-}" = -v ]; then
    cut -f 1,3,4 "$work/repool_bench_vec.rounds"
fi
exit "$failed"
