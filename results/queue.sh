#!/usr/bin/env bash
# The long runs, one after the other, from the top of a checkout that nothing else works in, with an
# environment that is entered:
#
#     git worktree add --detach ../runs main && cd ../runs && make .venv/installed
#     . .venv/bin/activate && nice -n 19 results/queue.sh
#
# Stop it anywhere and start it again: a run goes on at its last whole epoch, a finished one ends at
# once, and a failed one does not stop the rest. What a run writes lies in runs/; its small files are
# copied to results/ when it is done, as CONTRIBUTING.md says. TFDS_DATA_DIR should hold CIFAR-100
# with its published pixels, which the tables then say.
cd "$(dirname "$0")/.." || exit 1

while read -r verb command; do
    case $verb in '' | '#'*) continue ;; esac
    [ "$verb" = train ] && command="$command --resume"
    # shellcheck disable=SC2086
    python -m keras_wrn "$verb" $command </dev/null || echo "queue: $verb $command failed" >&2
done <<'RUNS'
# What the longer runs may have, each alone, on held-out training images: 0.68 PFLOP each.
train cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_jitter --data.jitter 0.13

# The paper's tables at 8 of their 200 epochs: at first one seed of each, 10 PFLOP, then all three.
study table2 --epochs 8 --seeds 1
study table3 --epochs 8 --seeds 1
study table6 --epochs 8 --seeds 1 --only cifar10-wrn_16_4 cifar10-wrn_16_4-dropout cifar100-wrn_16_4 cifar100-wrn_16_4-dropout
train cifar10_wrn22_4 --seed 0
train cifar10_wrn28_4 --seed 0
study table2 --epochs 8 --seeds 3
study table3 --epochs 8 --seeds 3
study table6 --epochs 8 --seeds 3 --only cifar10-wrn_16_4 cifar10-wrn_16_4-dropout cifar100-wrn_16_4 cifar100-wrn_16_4-dropout
train cifar10_wrn40_2 --seed 1
train cifar10_wrn22_4 --seed 1
train cifar10_wrn28_4 --seed 1
RUNS
