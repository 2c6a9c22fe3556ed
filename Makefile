# Varve. `make help` lists the targets.
#
# One file builds the whole tree. Sources are found by folder. Objects and tests go to
# $(BUILD)/ under the path of their source. The compiler writes the header dependencies.
# The folders are linked as layers: liblsm.a, then libfs.a, then the varve binary with
# libfuse. So the linker refuses a call upwards.

BUILD ?= build
CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
STORE ?= $(CURDIR)/store
MNT ?= $(CURDIR)/mnt

# mount/version.h is the one place that states the version.
VERSION := $(shell sed -n 's/.*VARVE_VERSION "\(.*\)"/\1/p' mount/version.h)

# `make install` takes the flags of the last build from its folder, so that it never rebuilds
# with others: `make CFLAGS=-O3 && sudo make install`.
ifneq ($(filter install up-to-date,$(MAKECMDGOALS)),)
ifeq ($(filter-out install up-to-date,$(MAKECMDGOALS)),)
$(eval $(file <$(BUILD)/flags))
endif
endif

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
	-Wformat-security
# Glibc's checks need an optimising build. The sanitizers bring checks of their own.
HARDEN = $(if $(findstring -fsanitize,$(CFLAGS)),,-fstack-protector-strong $(HARDEN_CPU) \
	$(if $(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,\
	$(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-D_FORTIFY_SOURCE=2)))
# Only some processors have these. tests/mount/hostile.sh checks that the binary has them.
HARDEN_CPU := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),\
	-fstack-clash-protection -fcf-protection)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -fPIE -pthread \
	$(HARDEN) $(WERROR) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack $(LDFLAGS)
LINK = $(say) $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^)
# Each command is shown by its target alone. V=1 shows the commands.
say = $(if $(filter-out 0,$(V)),,@echo '  $@';)

LSM_LIBS = -llz4 -lzstd -lxxhash -pthread $(LDLIBS)
FUSE_CFLAGS = $(shell $(PKG_CONFIG) --cflags fuse3)
FUSE_LIBS = $(shell $(PKG_CONFIG) --libs fuse3)

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(addsuffix /*.c,$(1))))

all: $(BUILD)/varve $(BUILD)/installed/liblsm.a ## build the varve binary and the library (the default)

# ---- compiling ----

# Targets that install packages compile only after that, also with -j.
AFTER_DEPS = $(if $(filter run check model crash fuzz conformance bench%,$(MAKECMDGOALS)),deps)

$(BUILD)/%.o: %.c $(BUILD)/flags | $(AFTER_DEPS)
	@mkdir -p $(@D)
	$(say) $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/mount/%.o: ALL_CFLAGS += $(FUSE_CFLAGS)

# What everything is built with. The file is rewritten when that changes, and only then.
define FLAGS :=
override CC := $(CC)
override CPPFLAGS := $(CPPFLAGS)
override CFLAGS := $(CFLAGS)
override LDFLAGS := $(LDFLAGS)
override LDLIBS := $(LDLIBS)
override WERROR := $(WERROR)
# $(ALL_CFLAGS) $(ALL_LDFLAGS)
endef
$(BUILD)/flags: export FLAGS := $(FLAGS)
ifneq ($(file <$(BUILD)/flags),$(FLAGS))
$(BUILD)/flags: FORCE
endif
$(BUILD)/flags:
	@mkdir -p $(@D)
	@printf '%s\n' "$$FLAGS" >$@

$(BUILD)/liblsm.a: $(call objects,lsm/base lsm/storage lsm/table lsm)
$(BUILD)/libfs.a: $(call objects,fs)
$(BUILD)/%.a:
	$(say) rm -f $@ && $(AR) rcs $@ $^

# For other programs: one object, in which only the names of lsm.h are global. Such a program
# links with the sanitizer's library itself, and with -flto the object is machine code.
LTO_OFF = $(if $(findstring -flto,$(CFLAGS)),\
	$(if $(findstring clang,$(shell $(CC) --version)),,-flinker-output=nolto-rel))
$(BUILD)/installed/liblsm.a: $(call objects,lsm/base lsm/storage lsm/table lsm)
	@mkdir -p $(@D)
	$(say) $(CC) $(filter-out -fsanitize%,$(CFLAGS)) $(LTO_OFF) -r -nostdlib -o $(@D)/lsm.o $^ && \
		$(OBJCOPY) --wildcard --keep-global-symbol='lsm_*' $(@D)/lsm.o && \
		rm -f $@ && $(AR) rcs $@ $(@D)/lsm.o

$(BUILD)/varve: $(call objects,mount) $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(LINK) $(FUSE_LIBS) $(LSM_LIBS)

debug: ## the same without optimising, for a debugger, in $(BUILD)-debug/
	+$(MAKE) BUILD=$(BUILD)-debug CFLAGS='-O0 -g3 -fno-omit-frame-pointer' all

# ---- tests: a C test is one file, tests/LAYER/test_NAME.c, linked with no layer above its own ----

C_TESTS = $(wildcard $(foreach d,lsm fs crash fuzz mount,tests/$(d)/test_*.c))
SHELL_TESTS = $(filter-out %lib.sh,\
	$(wildcard $(foreach d,lsm fs mount crash fuzz lint install mutants,tests/$(d)/*.sh)))
# What the shell tests of the mount run: a program, and a library that the daemon is run with.
PRELOADED = $(BUILD)/tests/mount/sync_log.so
HELPERS = $(BUILD)/tests/mount/churn/churn $(PRELOADED)
# What `check` runs; TESTS= takes sources, and patterns of them.
CHOSEN = $(if $(TESTS),$(wildcard $(TESTS)),$(C_TESTS) $(SHELL_TESTS))
RUNNABLE = $(patsubst %.c,$(BUILD)/%.t,$(CHOSEN))

# What only tests need of their own below the tree: a storage in memory.
$(BUILD)/tests/storage.a: $(call objects,tests/storage)
# What tests share. Members are linked on demand: a test of lsm/ gets none that needs libfs.a.
$(BUILD)/tests/support.a: $(call objects,tests/support)
TEST_LIBS = $(BUILD)/tests/support.a $(BUILD)/tests/storage.a

$(BUILD)/tests/lsm/%.t: $(BUILD)/tests/lsm/%.o $(TEST_LIBS) $(BUILD)/liblsm.a
	$(LINK) $(LSM_LIBS)
$(BUILD)/tests/%.t: $(BUILD)/tests/%.o $(TEST_LIBS) $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(LINK) $(LSM_LIBS)
# Handlers of requests, with a transport of the test's own: no libfuse, but for its options.
$(BUILD)/tests/mount/test_options.t: private MOUNT_TEST_LIBS = $(FUSE_LIBS)
$(BUILD)/tests/mount.a: $(filter-out $(BUILD)/mount/main.o $(BUILD)/mount/transport_fuse%,$(call objects,mount))
$(BUILD)/tests/mount/test_%.t: $(BUILD)/tests/mount/test_%.o $(call objects,tests/mount/fake) \
		$(BUILD)/tests/mount.a $(TEST_LIBS) $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(LINK) $(MOUNT_TEST_LIBS) $(LSM_LIBS)
# Their allocator fails (alloc.h): only calls from our own objects go through it.
ALLOCATES = malloc calloc realloc aligned_alloc posix_memalign strdup strndup asprintf __asprintf_chk \
	pthread_create
$(addprefix $(BUILD)/tests/crash/test_,alloc.t fail_fs.t): private ALL_LDFLAGS += $(ALLOCATES:%=-Wl,--wrap=%)
$(BUILD)/tests/mount/churn/churn: $(call objects,tests/mount/churn)
	$(LINK) $(LDLIBS)
# Without the flags of the rest: it goes into a program that may have a sanitizer or not.
$(PRELOADED): $(BUILD)/%.so: %.c
	@mkdir -p $(@D)
	$(say) $(CC) -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -O1 -fPIC -shared -o $@ $<

# Tests that mount come one after the other, the rest beside them.
JOBS ?= 2
PROVE = BUILD='$(abspath $(BUILD))' VARVE='$(abspath $(BUILD)/varve)' prove --timer --failures \
	-j$(JOBS) --rules='seq=tests/mount/*' --rules='par=**' -e 'bash tests/run'

build-tests: $(filter %.t,$(RUNNABLE)) $(if $(filter tests/mount/%.sh,$(RUNNABLE)),$(BUILD)/varve $(HELPERS)) \
	$(if $(filter tests/install/%.sh,$(RUNNABLE)),all)

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

MUTATE = python3 tests/mutants/run.py --jobs=$(JOBS) --scratch='$(abspath $(BUILD))-mutants'
mutants: deps ## deliberate mistakes in a copy of the code, one at a time: a test has to fail (MUTANTS='wal-*')
	$(MUTATE) $(MUTANTS:%='%')
mutants-short: deps ## a few of them
	$(MUTATE) --ci

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

lint: lint-rules lint-format lint-scripts lint-tidy lint-builds lint-functions ## style, layers, names, rings of files, static analysis, warnings of gcc and clang
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
lint-functions: lint-builds
	tests/lint/doubles
	tests/lint/rings $(BUILD)-lint-gcc
# All objects but those of the benchmarks, which need more packages.
objects: $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/bench/%,$(filter %.c,$(C_FILES))))

compile_commands.json: FORCE ## how each file is compiled, for editors (clangd)
	@$(MAKE) -nB --no-print-directory V=1 DEPS=no objects | sed -n -e 's/[\\"]/\\&/g' \
		-e 's|.* -c -o [^ ]* \([^ ]*\.c\)$$|{"directory": "$(CURDIR)", "file": "\1", "command": "&"},|p' | \
		sed -e '1s/^/[/' -e '$$s/,$$/]/' >$@

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
# Nothing is written into a build folder of another user (a user builds, root installs).
BUILDER := $(shell stat -c %u '$(BUILD)' 2>/dev/null)
install: $(if $(filter-out $(shell id -u),$(BUILDER)),not-mine,all) ## install the binary, the library, manual and changelog (PREFIX=/usr/local, DESTDIR=)
	install -D -m 755 $(BUILD)/varve '$(DESTDIR)$(PREFIX)/bin/varve'
	install -D -m 644 $(BUILD)/installed/liblsm.a '$(DESTDIR)$(LIBDIR)/liblsm.a'
	install -D -m 644 lsm/lsm.h '$(DESTDIR)$(PREFIX)/include/lsm.h'
	install -d '$(DESTDIR)$(LIBDIR)/pkgconfig'
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|; s|@VERSION@|$(VERSION)|' lsm/lsm.pc.in \
		>'$(DESTDIR)$(LIBDIR)/pkgconfig/lsm.pc'
	chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/lsm.pc'
	install -D -m 644 mount/varve.1 '$(DESTDIR)$(PREFIX)/share/man/man1/varve.1'
	install -D -m 644 -t '$(DESTDIR)$(PREFIX)/share/doc/varve' mount/changelog LICENSE
not-mine:
	@$(MAKE) -q up-to-date || { \
		echo 'make: $(BUILD)/ is not up to date and belongs to another user, who has to run make first' >&2; \
		exit 1; }
up-to-date: all
uninstall: ## remove what install put there
	rm -f $(foreach f,bin/varve include/lsm.h share/man/man1/varve.1,'$(DESTDIR)$(PREFIX)/$(f)') \
		$(foreach f,liblsm.a pkgconfig/lsm.pc,'$(DESTDIR)$(LIBDIR)/$(f)')
	rm -rf '$(DESTDIR)$(PREFIX)/share/doc/varve'

clean: ## remove what was built, and nothing else
	rm -rf '$(BUILD)' $(foreach x,debug fuzz asan ubsan tsan lint-gcc lint-clang mutants,'$(BUILD)-$(x)') \
		compile_commands.json

# ---- packages ----

PACKAGES = libc6-dev pkg-config libfuse3-dev fuse3 liblz4-dev libzstd-dev libxxhash-dev
TEST_PACKAGES = g++ perl acl attr rsync git sqlite3 procps python3 python3-hypothesis \
	e2fsprogs groff-base
LINT_PACKAGES = clang clang-format clang-tidy shellcheck python3 binutils
FUZZ_PACKAGES = clang libclang-rt-dev
BENCH_PACKAGES = librocksdb-dev libleveldb-dev liblmdb-dev

deps: ## install the packages that are missing (apt-get); DEPS=no, with any target, installs nothing
	@$(call install-packages,$(PACKAGES) $(TEST_PACKAGES))
lint-deps:
	@$(call install-packages,$(LINT_PACKAGES))
bench-deps: | deps
	@$(call install-packages,$(BENCH_PACKAGES))
fuzz-deps: | deps
	@$(call install-packages,$(FUZZ_PACKAGES))

define install-packages
test '$(DEPS)' != no || exit 0; \
missing=; \
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then \
	$(PKG_CONFIG) --exists fuse3 liblz4 libzstd libxxhash 2>/dev/null && exit 0; \
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
	@sed -n 's/^\([a-z_.-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 23

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.SECONDARY:
.PHONY: all help deps fuzz fuzz-deps lint-deps bench-deps run build-tests check heavy model crash conformance \
	mutants mutants-short \
	asan ubsan tsan lint lint-rules lint-format format lint-scripts lint-tidy lint-builds \
	lint-functions objects bench bench-fs bench-lsm install not-mine up-to-date uninstall debug clean FORCE
