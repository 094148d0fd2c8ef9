# The two commands are `make run` and `make test`; both install what is missing. Each target is a script of its own.

.PHONY: help run test bench soak lint clean-engine

help:
	@echo "make run           install what is missing, build, start the portal on 127.0.0.1:8080"
	@echo "make test          install what is missing, run every check and test"
	@echo "make bench         print the measured figures of the promises"
	@echo "make soak          faults by chance on three engines; MINUTES=5 and SEED=1 choose how long and which"
	@echo "make lint          format, clippy, shellcheck"
	@echo "make clean-engine  remove what tests left on the Docker Engine"

run:
	@scripts/run $(ARGS)

test:
	@scripts/test

bench:
	@scripts/bench $(ARGS)

soak:
	@scripts/soak "$(or $(MINUTES),5)" "$(SEED)"

lint:
	@scripts/lint

clean-engine:
	@scripts/clean-engine
