#!/usr/bin/env bash
# The long runs, one after the other, from the top of a checkout that nothing else works in, with an
# environment that is entered:
#
#     git worktree add --detach ../runs main && cd ../runs && make .venv/installed
#     . .venv/bin/activate && setsid nice -n 19 results/queue.sh
#
# In a session of its own: where Linux shares its cores among sessions (autogroup), a process is nice
# only to those of its own, and what has to be nice to all others is the session.
# Stop it anywhere and start it again: a run goes on at its last whole epoch, a finished one ends at
# once, and a failed one does not stop the rest. What a run writes lies in runs/; its small files are
# copied to results/ when it is done, as CONTRIBUTING.md says.
cd "$(dirname "$0")/.." || exit 1
{ nice >"/proc/$$/autogroup"; } 2>/dev/null

while read -r recipe flags; do
    case $recipe in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2086
    python "recipes/$recipe.py" $flags --resume </dev/null || echo "queue: $recipe $flags failed" >&2
done <<'RUNS'
# What the longer runs may have, each alone, on held-out training images: 0.68 PFLOP each.
cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_base
cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_average0.99 --optimizer.average 0.99
cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_average0.998 --optimizer.average 0.998
cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_cutout --data.cutout 12 --data.crop-padding 4
cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_cutmix --data.cutmix 1.0 --data.cutmix-rate 0.5 --data.mixing-share 0.75
cifar10_fast --model.width 2 --epochs 32 --data.validation 5000 --run-dir runs/long_jitter --data.jitter 0.13

cifar10_wrn40_2 --seed 0
cifar10_wrn22_4 --seed 0
cifar10_wrn28_4 --seed 0
cifar10_wrn40_2 --seed 1
cifar10_wrn22_4 --seed 1
cifar10_wrn28_4 --seed 1
RUNS
