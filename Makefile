# The front door. Everything is built by Meson in build/<variant>; this file only names the common ways in.
SHELL := /bin/bash
SEEDS ?= 200
NINJA := ninja
RELEASE := build/release

.PHONY: all program setup test check asan tsan sim bench demo format clean kill-test fuzz

all: program
	$(NINJA) -C $(RELEASE)

program: setup $(RELEASE)/build.ninja
	$(NINJA) -C $(RELEASE) src/app/shadowcast
	ln -sfn release/src/app/shadowcast build/shadowcast

setup:
	@tools/setup

build/%/build.ninja:
	@tools/configure $*

test: all
	tools/run_tests $(RELEASE)

check: program
	tools/check

asan: setup build/asan/build.ninja
	$(NINJA) -C build/asan
	tools/run_tests build/asan

tsan: setup build/tsan/build.ninja
	$(NINJA) -C build/tsan
	tools/run_tests build/tsan races

sim: all
	$(RELEASE)/sim/sim --seeds $(SEEDS)

bench: program
	build/shadowcast bench

demo: program
	build/shadowcast demo

kill-test: all
	tools/kill_test --rounds 50

fuzz: setup
	tools/fuzz $(T)

format:
	git ls-files '*.c' '*.h' '*.cpp' | xargs clang-format-14 -i

clean:
	rm -rf build
