#!/bin/bash
# A network that learns brain age from simulated heads first and then from your people:
#   PHANTOMS=200 ./from_phantoms.sh OUT participants.tsv FOLDER [options of brainage-train]
# OUT is the output folder of `brainage … participant`. The models are FOLDER/phantoms and FOLDER/ours. A run that was ended goes on.
# docs/benchmarks.md says what such networks were worth on real scans.
set -euo pipefail
out=$1 people=$2 folder=$3
shift 3
network=(--model slices --input brain2affine --widths 8 16 32 64 128 "$@")
truth=$folder/cohort/derivatives/truth/participants.tsv

brainage-phantom "$folder/cohort" --model-space T1w --participants "${PHANTOMS:-200}" --ages 18 85 --sites 2 --scanners-per-site 2 \
    --stripped 0.5 --resolution 2 --modalities T1w --no-blood --jobs "$(nproc)"
[ -d "$folder/phantoms" ] || brainage-train "$folder/cohort/derivatives/brainage" --phenotype "$truth" --target brain_age --split-parts \
    --optimiser adamw --rate 0.002 --epochs 24 --augmentation strong --out "$folder/phantoms" "${network[@]}"
[ -d "$folder/ours" ] || brainage-train "$out" --phenotype "$people" --init "$folder/phantoms" --freeze convolutions \
    --folds 5 --repeats 3 --out "$folder/ours" "${network[@]}"
