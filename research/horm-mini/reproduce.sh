#!/usr/bin/env bash
# Makes the weights of horm-mini-xtb and horm-mini again.
#
#     research/horm-mini/reproduce.sh DATA horm-mini
#     research/horm-mini/reproduce.sh DATA all
#
# The first makes horm-mini, as part 10, from the weights and the DFT labels of this repository, in
# about three hours on one core. The second runs the parts 01 to 09 before, which takes days; part 10
# starts from the weights of the repository all the same. DATA holds xtb_train.h5, xtb_dev.h5 and,
# for the second, the folder reactbench/ (../shared/data seen from the repository, as the settings
# name it). Run it again after an interruption: what is complete is kept, and the step that was
# broken off goes on or starts anew. The README says what differs from the shipped weights.
set -euo pipefail
cd "$(dirname "$0")/../.."

DATA=${1:?which folder has the data?}
PARTS=${2:?horm-mini or all?}
case $PARTS in horm-mini | all) ;; *) echo "horm-mini or all, not $PARTS?" >&2 && exit 2 ;; esac
HERE=research/horm-mini
SCRIPTS=$HERE/scripts
RUNS=runs/horm-mini
mkdir -p "$RUNS"

train() { # folder, name of the settings and of the run
    horm-train "$HERE/$1/$2.yaml" --out "$RUNS/$2"
}

once() { # a file to be made, and the command that makes it; a stamp says that it is complete
    [ -e "$1.done" ] && return
    "${@:2}"
    touch "$1.done"
}

anew() { # the same for a command that does not go on with a file that it left unfinished
    [ -e "$1.done" ] || rm -f "$1"
    once "$@"
}

label() { # labels, geometries, level of theory, options
    once "$1" horm-label "$2" "$1" --level "$3" "${@:4}"
}

exchange() { # name of the geometries and labels, options of mutate.py
    once "runs/$1.xyz" \
        python $SCRIPTS/mutate.py "$DATA/xtb_train.h5" "runs/$1.xyz" "${@:2}"
    once "runs/$1-kept.xyz" \
        python $SCRIPTS/avoid.py "runs/$1.xyz" "$DATA/xtb_dev.h5" "runs/$1-kept.xyz"
    label "$RUNS/$1.h5" "runs/$1-kept.xyz" gfn2-xtb --hessians 0.25 --projections 2
}

correct() { # name of the corrected labels, labels at GFN2-xTB, part of them
    anew "$RUNS/corrected-$1.h5" \
        python $SCRIPTS/correct.py "$2" "$RUNS/corrected-$1.h5" --share "$3" \
        --pair $RUNS/first/best.ckpt horm-mini-xtb \
        --pair $RUNS/second/best.ckpt $HERE/08-longer/cool.safetensors
}

search() { # list of files, run, checkpoint, options
    local list=$1 run=$2 checkpoint=$3 row
    shift 3
    {
        echo "id,reaction"
        while read -r row; do
            echo "${row%.xyz},$(realpath "$DATA/reactbench/$row")"
        done < "$list"
    } > "$run.csv"
    # Exit code 3: some reactions could not be searched, which is no reason to stop.
    horm-tssearch "$run.csv" --out "$run" --attempts 1 --calculator "horm:$checkpoint" "$@" ||
        [ $? -eq 3 ]
}

drive() { # molecules driven to react at one place (for part 03) and at two (for part 04)
    once runs/driven.xyz python $SCRIPTS/drive.py "$DATA/xtb_train.h5" runs/driven.xyz
    label $RUNS/driven.h5 runs/driven.xyz gfn2-xtb --hessians 0.25 --projections 2
    once runs/driven2.xyz \
        python $SCRIPTS/drive.py "$DATA/xtb_train.h5" runs/driven2.xyz --pairs 2 --seed 1
    label $RUNS/driven2.h5 runs/driven2.xyz gfn2-xtb --hessians 0.25 --projections 2
}

earlier() {
    # 01: the first 13,336 steps, and weights for the searches of 02
    train 01-trunk trunk
    train 01-trunk searching

    # 02: structures of searches with these weights
    search $HERE/02-searched/searched.txt runs/searched $RUNS/searching/best.ckpt
    once runs/searched.xyz python $SCRIPTS/collect.py runs/searched runs/searched.xyz
    label $RUNS/searched.h5 runs/searched.xyz gfn2-xtb --hessians 0.3
    train 02-searched muon
    train 02-searched cooldown

    # 03: molecules driven to react at one place
    train 03-driven wider

    # 04: the same at two places
    train 04-driven-at-two-places further

    # 05: structures of searches with the weights of 03
    search $HERE/05-searched-again/searched2.txt runs/searched2 $RUNS/wider/last.ckpt \
        --lower_path.steps 0
    once runs/searched2.xyz python $SCRIPTS/collect.py runs/searched2 runs/searched2.xyz
    label $RUNS/searched2.h5 runs/searched2.xyz gfn2-xtb --hessians 0.3
    train 05-searched-again settled

    # 06: exchanged atoms
    exchange mutated --calculator "horm:$RUNS/settled/last.ckpt"
    train 06-exchanged exchanged

    # 07: 96 channels instead of 64, and the repulsion of nuclei: the weights of horm-mini-xtb
    once $RUNS/widened.safetensors python $SCRIPTS/widen.py \
        $RUNS/exchanged/last.ckpt $RUNS/widened.safetensors --channels 96 --hidden 256
    train 07-broader broader
    once $RUNS/broader.safetensors \
        python $SCRIPTS/export.py $RUNS/broader/last.ckpt $RUNS/broader.safetensors
    once $RUNS/repelling.safetensors \
        python $SCRIPTS/repel.py $RUNS/broader.safetensors $RUNS/repelling.safetensors

    # 08: more steps, and other exchanged atoms
    exchange exchanged-again --calculator gfn2-xtb --each 1
    train 08-longer warm
    train 08-longer cool
    once $RUNS/cool.safetensors \
        python $SCRIPTS/export.py $RUNS/cool/last.ckpt $RUNS/cool.safetensors

    # 09: tuned on the labels of research/dft-labels: the first horm-mini
    train 09-more-labels tuned
}

drive
[ "$PARTS" = horm-mini ] || earlier

# 10: what DFT adds to GFN2-xTB is learned twice, and added to labels of GFN2-xTB; these are the
# weights of horm-mini
anew $RUNS/relative-first.h5 python $SCRIPTS/relative.py \
    research/dft-labels $RUNS/relative-first.h5 horm-mini-xtb
train 10-difference first
anew $RUNS/relative-second.h5 python $SCRIPTS/relative.py \
    research/dft-labels $RUNS/relative-second.h5 $HERE/08-longer/cool.safetensors
train 10-difference second
correct dev "$DATA/xtb_dev.h5" 0.02
correct train "$DATA/xtb_train.h5" 0.35
correct driven $RUNS/driven.h5 0.5
correct driven2 $RUNS/driven2.h5 0.5
train 10-difference corrected
once runs/horm-mini.safetensors \
    python $SCRIPTS/export.py $RUNS/corrected/best.ckpt runs/horm-mini.safetensors
