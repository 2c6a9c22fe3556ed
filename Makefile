# Varve. `make help` lists what can be asked for.

BUILD ?= build
CC ?= cc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
ALL_CFLAGS = -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wvla -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -pthread $(WERROR) $(CFLAGS)

LSM_LIBS = -llz4 -lzstd -lxxhash -pthread
FUSE_CFLAGS = $(shell pkg-config --cflags fuse3)
FUSE_LIBS = $(shell pkg-config --libs fuse3)

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))
tests = $(patsubst %.c,$(BUILD)/%.t,$(wildcard tests/$(1)/test_*.c))

all: $(BUILD)/varve

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/mount/%.o: ALL_CFLAGS += $(FUSE_CFLAGS)

$(BUILD)/liblsm.a: $(call objects,lsm)
	$(AR) rcs $@ $^
$(BUILD)/libfs.a: $(call objects,fs)
	$(AR) rcs $@ $^
$(BUILD)/varve: $(call objects,mount) $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(FUSE_LIBS) $(LSM_LIBS)

# A test is one C file, tests/LAYER/test_NAME.c, linked with no layer above its own.
$(BUILD)/tests/lsm/%.t: $(BUILD)/tests/lsm/%.o $(BUILD)/liblsm.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LSM_LIBS)
$(BUILD)/tests/fs/%.t: $(BUILD)/tests/fs/%.o $(BUILD)/libfs.a $(BUILD)/liblsm.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LSM_LIBS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.SECONDARY:
.PHONY: all
