# Varve. `make help` lists what can be asked for.
#
# One file for the whole tree: sources are found by folder, objects and tests
# go to $(BUILD)/ under the path of their source, header dependencies come from
# the compiler. The folders are linked as layers, so that the linker refuses a
# call upwards: liblsm.a, then libfs.a, then the varve binary with libfuse.

BUILD ?= build
CC ?= cc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
STORE ?= $(CURDIR)/store
MNT ?= $(CURDIR)/mnt

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
	-Wformat-security
# Glibc's checks need an optimising build; sanitizers bring checks of their own.
HARDEN = $(if $(findstring -fsanitize,$(CFLAGS)),,-fstack-protector-strong $(HARDEN_CPU) \
	$(if $(findstring _FORTIFY_SOURCE,$(CFLAGS)),,\
	$(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-D_FORTIFY_SOURCE=2)))
# Not every processor has these. (tests/mount/hostile.sh looks whether the binary got all.)
HARDEN_CPU := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),\
	-fstack-clash-protection -fcf-protection)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -fPIE -pthread \
	$(HARDEN) $(WERROR) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack $(LDFLAGS)
LINK = $(say) $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^)
# Commands are shown by their target alone; V=1 shows all of them.
say = $(if $(V),,@echo '  $@';)

LSM_LIBS = -llz4 -lzstd -lxxhash -pthread
FUSE_CFLAGS = $(shell pkg-config --cflags fuse3)
FUSE_LIBS = $(shell pkg-config --libs fuse3)

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(addsuffix /*.c,$(1))))

all: $(BUILD)/varve ## build the varve binary (the default)

# ---- compiling ----

# Targets that install packages compile only after that, also with -j.
AFTER_DEPS = $(if $(filter run check model crash fuzz conformance bench%,$(MAKECMDGOALS)),deps)

$(BUILD)/%.o: %.c $(BUILD)/flags | $(AFTER_DEPS)
	@mkdir -p $(@D)
	$(say) $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/mount/%.o: ALL_CFLAGS += $(FUSE_CFLAGS)

# Changes when the compiler or its flags do, and only then.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@

$(BUILD)/liblsm.a: $(call objects,lsm/base lsm/storage lsm/table lsm)
$(BUILD)/libfs.a: $(call objects,fs)
$(BUILD)/%.a:
	$(say) rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/varve: $(call objects,mount) $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(LINK) $(FUSE_LIBS) $(LSM_LIBS)

# ---- tests: a C test is one file, tests/LAYER/test_NAME.c, linked with no layer above its own ----

C_TESTS = $(wildcard $(foreach d,lsm fs crash fuzz mount,tests/$(d)/test_*.c))
SHELL_TESTS = $(filter-out %lib.sh,$(wildcard $(foreach d,lsm fs mount crash fuzz lint,tests/$(d)/*.sh)))
# A program that the shell tests of the mount run.
HELPERS = $(BUILD)/tests/mount/churn/churn
# What `check` runs; TESTS= takes sources, and patterns of them.
CHOSEN = $(if $(TESTS),$(wildcard $(TESTS)),$(C_TESTS) $(SHELL_TESTS))
RUNNABLE = $(patsubst %.c,$(BUILD)/%.t,$(CHOSEN))

# What only tests need of their own below the tree: a storage in memory.
$(BUILD)/tests/storage.a: $(call objects,tests/storage)

$(BUILD)/tests/lsm/%.t: $(BUILD)/tests/lsm/%.o $(BUILD)/tests/storage.a $(BUILD)/liblsm.a
	$(LINK) $(LSM_LIBS)
$(BUILD)/tests/%.t: $(BUILD)/tests/%.o $(BUILD)/tests/storage.a $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(LINK) $(LSM_LIBS)
# Their allocator fails (alloc.h): only calls from our own objects go through it.
ALLOCATES = malloc calloc realloc aligned_alloc posix_memalign strdup strndup asprintf __asprintf_chk \
	pthread_create
$(addprefix $(BUILD)/tests/crash/test_,alloc.t fail_fs.t): ALL_LDFLAGS += $(ALLOCATES:%=-Wl,--wrap=%)
$(BUILD)/tests/mount/churn/churn: $(call objects,tests/mount/churn)
	$(LINK)

# Tests that mount come one after the other, the rest beside them.
JOBS ?= 2
PROVE = BUILD='$(abspath $(BUILD))' VARVE='$(abspath $(BUILD)/varve)' prove --timer --failures \
	-j$(JOBS) --rules='seq=tests/mount/*' --rules='par=**' -e 'bash tests/run'

build-tests: $(filter %.t,$(RUNNABLE)) $(if $(filter tests/mount/%.sh,$(RUNNABLE)),$(BUILD)/varve $(HELPERS))

check: deps build-tests ## build and run all tests (TESTS='tests/lsm/test_wal.c tests/mount/*.sh' for some)
	@test -n '$(RUNNABLE)' || { echo 'make check: no test matches TESTS=$(TESTS)' >&2; exit 1; }
	$(PROVE) $(RUNNABLE)

heavy: ## the tests of the mount with real programs, in full size
	+HEAVY=full TEST_TIMEOUT=7200 $(MAKE) check TESTS='$(filter-out %lib.sh,$(wildcard tests/mount/heavy_*.sh))'

MODEL_OPS ?= 1000000
model: deps $(BUILD)/tests/lsm/test_model.t ## the tree against a plain model, MODEL_OPS=1000000 operations
	MODEL_OPS=$(MODEL_OPS) $(PROVE) $(BUILD)/tests/lsm/test_model.t

CUTS ?= 100000
CRASH_TESTS = $(patsubst %.c,$(BUILD)/%.t,$(wildcard tests/crash/test_*.c))
crash: deps $(CRASH_TESTS) ## power cuts (CUTS=100000 in each test), every call failing, every byte damaged; kills and load
	CUTS=$(CUTS) FAILS=all STRIDE=1 FLIPS=5000 TEST_TIMEOUT=36000 $(PROVE) $(CRASH_TESTS)
	+HEAVY=full TEST_TIMEOUT=7200 $(MAKE) check TESTS='tests/mount/heavy_writers.sh tests/mount/heavy_load.sh'

FUZZ_SECONDS ?= 60
FUZZERS = $(patsubst %.c,%,$(wildcard tests/fuzz/test_*.c))
# The seeds are made by the same files built as plain tests; what is found stays in the build folder.
fuzz: deps fuzz-deps $(FUZZERS:%=$(BUILD)/%.t) ## search for bytes that break a decoder, and operations that go wrong; FUZZ_SECONDS=60 for each
	+$(MAKE) BUILD=$(BUILD)-fuzz CC=clang LDFLAGS=-fsanitize=fuzzer CFLAGS='-O1 -g -DLIBFUZZER \
		-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' \
		$(FUZZERS:%=$(BUILD)-fuzz/%.t)
	@for f in $(FUZZERS); do \
		corpus=$(BUILD)-fuzz/$$f.corpus; mkdir -p $$corpus; echo "== $$f"; \
		$(BUILD)/$$f.t --seeds $$corpus && $(BUILD)-fuzz/$$f.t -max_total_time=$(FUZZ_SECONDS) \
			-max_len=20000 -timeout=60 -rss_limit_mb=1500 -verbosity=0 -print_final_stats=1 \
			-artifact_prefix=$$corpus- $$corpus || exit 1; \
	done

conformance: deps $(BUILD)/varve ## run SUITE=/path, a folder of TAP tests such as pjdfstest, on a mount
	@VARVE='$(abspath $(BUILD)/varve)' bash tests/conformance.sh '$(SUITE)'

# ---- sanitizers, each with a build folder of its own ----

sanitized = SANITIZED=$@ TEST_TIMEOUT=3600 $(MAKE) check BUILD=$(BUILD)-$@ \
	CFLAGS='-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=$(1)'

asan: ## all tests under the address and undefined-behaviour sanitizers
	+$(call sanitized,address$(,)undefined)
ubsan: ## all tests under the undefined-behaviour sanitizer alone
	+$(call sanitized,undefined)
tsan: ## the C tests under the thread sanitizer
	+$(call sanitized,thread) TESTS='$(or $(TESTS),$(C_TESTS))'
, := ,

# ---- lint ----

C_FILES = $(wildcard lsm/*.[ch] lsm/*/*.[ch] fs/*.[ch] mount/*.[ch] tests/*.[ch] tests/*/*.[ch] \
	tests/*/*/*.[ch])
SCRIPTS = .ci/run tests/run tests/lint/rules $(wildcard tests/*.sh tests/*/*.sh)
lint-build = +$(MAKE) BUILD=$(BUILD)-lint-$(1) CC=$(1) WERROR='-Werror $(2)' all objects

lint: lint-rules lint-format lint-scripts lint-tidy lint-builds ## style, layers, static analysis, warnings of gcc and clang
lint-rules:
	bash tests/lint/rules .
lint-format:
	$(say) clang-format --dry-run -Werror $(C_FILES)
format: ## lay out all C files as `make lint` wants them
	$(say) clang-format -i $(C_FILES)
lint-scripts:
	$(say) shellcheck -S warning $(SCRIPTS)
lint-tidy:
	printf '%s\n' $(filter-out tests/bench/%,$(filter %.c,$(C_FILES))) | xargs -P $(JOBS) -n 4 sh -c \
		'clang-tidy --quiet "$$@" -- $(filter-out -Werror,$(ALL_CFLAGS)) $(FUSE_CFLAGS) 2>&1' tidy
lint-builds:
	$(call lint-build,gcc)
	$(call lint-build,clang,-Wthread-safety)
# Every object there is; benchmarks have a target of their own, as they need more packages.
objects: $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/bench/%,$(filter %.c,$(C_FILES))))

# ---- benchmarks ----

BENCH_LSM_LIBS = -lrocksdb -lleveldb -llmdb

$(BUILD)/tests/bench/bench_lsm: $(BUILD)/tests/bench/bench_lsm.o $(BUILD)/liblsm.a | bench-deps
	$(LINK) $(LSM_LIBS) $(BENCH_LSM_LIBS)
$(BUILD)/tests/bench/bench_lsm.o: | bench-deps
$(BUILD)/tests/bench/bench_fs: $(BUILD)/tests/bench/bench_fs.o
	$(LINK)

bench: ## measure the mount and the tree beside others (tests/bench/README.md)
	+$(MAKE) bench-fs
	+$(MAKE) bench-lsm
bench-fs: deps $(BUILD)/varve $(BUILD)/tests/bench/bench_fs
	BUILD='$(abspath $(BUILD))' bash tests/bench/bench_fs.sh $(BENCH_FS)
bench-lsm: deps bench-deps $(BUILD)/tests/bench/bench_lsm
	$(BUILD)/tests/bench/bench_lsm $(BENCH_LSM)

# ---- running and installing ----

# A killed daemon's mount point is "not connected"; varve mends that. (Attributes may be cached: ask statfs.)
run: deps $(BUILD)/varve ## build, create the store at STORE= and mount it on MNT=
	@case $$(LC_ALL=C stat -f '$(MNT)' 2>&1) in \
	*'not connected'*) ;; \
	*) \
		if mountpoint -q '$(MNT)'; then echo 'Already mounted: $(MNT)'; exit 0; fi; \
		mkdir -p '$(MNT)' || exit 1;; \
	esac; \
	$(BUILD)/varve mount '$(STORE)' '$(MNT)' && printf '%s\n' \
		'Mounted the store $(STORE) on $(MNT). Try:' '' \
		"  cp -a /usr/include '$(MNT)/' && diff -r --no-dereference /usr/include '$(MNT)/include' && echo same" \
		"  $(BUILD)/varve stat '$(MNT)'" \
		"  $(BUILD)/varve umount '$(MNT)'" \
		"  $(BUILD)/varve check '$(STORE)'"

# mount(8) needs nothing more for type fuse.varve: mount.fuse3 runs `varve STORE MNT -o ...`.
install: $(BUILD)/varve ## install the binary and its man page (PREFIX=/usr/local, DESTDIR=)
	install -D -m 755 $(BUILD)/varve '$(DESTDIR)$(PREFIX)/bin/varve'
	install -D -m 644 mount/varve.1 '$(DESTDIR)$(PREFIX)/share/man/man1/varve.1'
uninstall: ## remove what install put there
	rm -f '$(DESTDIR)$(PREFIX)/bin/varve' '$(DESTDIR)$(PREFIX)/share/man/man1/varve.1'

clean: ## remove what was built, and nothing else
	rm -rf '$(BUILD)' $(foreach x,fuzz asan ubsan tsan lint-gcc lint-clang,'$(BUILD)-$(x)')

# ---- packages ----

DEPS = libc6-dev pkg-config libfuse3-dev fuse3 liblz4-dev libzstd-dev libxxhash-dev
TEST_DEPS = perl acl attr rsync git sqlite3 procps python3 python3-hypothesis e2fsprogs groff-base
LINT_DEPS = clang clang-format clang-tidy shellcheck
FUZZ_DEPS = clang libclang-rt-dev
BENCH_DEPS = librocksdb-dev libleveldb-dev liblmdb-dev

deps: ## install the packages that are missing (apt-get; nothing is done when all are there)
	@$(call install,$(DEPS) $(TEST_DEPS))
lint-deps:
	@$(call install,$(LINT_DEPS))
bench-deps: | deps
	@$(call install,$(BENCH_DEPS))
fuzz-deps: | deps
	@$(call install,$(FUZZ_DEPS))

define install
missing=; \
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then \
	pkg-config --exists fuse3 liblz4 libzstd libxxhash 2>/dev/null && exit 0; \
	echo 'make: no apt-get here; install what answers to these Debian packages: $(1)' >&2; \
	exit 1; \
fi; \
for p in $(1); do \
	dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || \
		missing="$$missing $$p"; \
done; \
test -n "$$missing" || exit 0; \
as_root='env DEBIAN_FRONTEND=noninteractive'; \
if [ "$$(id -u)" != 0 ]; then \
	if ! command -v sudo >/dev/null; then \
		echo "make: packages are missing; as root: apt-get install$$missing" >&2; exit 1; \
	fi; \
	as_root="sudo $$as_root"; \
fi; \
echo "Installing$$missing"; \
$$as_root apt-get update -qq && \
$$as_root apt-get install -y -qq --no-install-recommends $$missing >/dev/null || \
	{ echo "make: apt-get could not install$$missing" >&2; exit 1; }
endef

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.SECONDARY:
.PHONY: all help deps fuzz fuzz-deps lint-deps bench-deps run build-tests check heavy model crash conformance \
	asan ubsan tsan lint lint-rules lint-format format lint-scripts lint-tidy lint-builds \
	objects bench bench-fs bench-lsm install uninstall clean FORCE
