#!/bin/bash
# All GPUs of one node, one worker each: gpus-of-one-node.sh reactions.csv runs/first
# Works in a job of any batch system, and without one.

scheduler=tcp://127.0.0.1:8786
dask scheduler --host 127.0.0.1 --port 8786 --no-dashboard &
for gpu in $(nvidia-smi --query-gpu=index --format=csv,noheader); do
    CUDA_VISIBLE_DEVICES=$gpu OMP_NUM_THREADS=1 \
        dask worker "$scheduler" --nthreads 1 --memory-limit 0 --no-dashboard &
done
trap 'kill $(jobs -p)' EXIT
sleep 10
horm-tssearch "$1" --out "$2" --dask "$scheduler"
