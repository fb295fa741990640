# Recast. `make help` lists the targets.
BUILD    ?= build
CC       ?= cc
PREFIX   ?= /usr/local
DESTDIR  ?=
SANITIZE ?=
VERSION  := 0.1.0
# V=1 shows whole commands.
Q        := $(if $(V),,@)
say       = $(if $(V),:,printf '  %s %s\n' $(1) $(2))

ROOMS := core model recipes convert runner packager validate
PKGS  := libcrypto libcjson

# No -march: a binary built anywhere runs anywhere of its kind. No contraction, no fast-math: the runner's bits are the same
# on every machine (docs/arithmetic.md).
CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Werror
STRICT   := -std=c17 -D_GNU_SOURCE -ffp-contract=off -fno-fast-math -pthread
ifeq ($(SANITIZE),1)
  STRICT += -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ALL_CFLAGS = $(CFLAGS) $(STRICT) $(WARNINGS) -I. -DRECAST_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS       = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -pthread

sources   = $(sort $(wildcard $(1)/*.c $(1)/*/*.c))
objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(call sources,$(1)))
cli_lib   = $(filter-out $(BUILD)/obj/cli/main.o,$(call objects,cli))
room_libs = $(patsubst %,$(BUILD)/lib/%.a,$(1))

# What a test of a room links: the room and all below it, upper rooms first.
below_core     := core
below_model    := model core
below_recipes  := recipes model core
below_convert  := convert recipes model core
below_runner   := runner model core
below_packager := packager recipes model core
below_validate := validate packager convert runner recipes model core
below_cli      := cli validate packager convert runner recipes model core

TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))

.PHONY: all demo test deps sanitize check-deps format bench bench-quantize fuzz install uninstall clean help unit-tests cli-tests
.DEFAULT_GOAL := all

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

all: $(BUILD)/recast ## build the program as build/recast

deps: ## install what is missing, through the system's package manager
	@sh tests/deps.sh

demo: deps ## the main job on the bundled tiny model: derive, convert, validate, package, generate
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@sh tests/demo.sh $(BUILD)/recast

test: deps ## run every test (sets up what it needs)
	@$(MAKE) --no-print-directory check-deps
	@$(MAKE) --no-print-directory -j$$(nproc) all unit-tests
	@sh tests/run.sh $(BUILD)

sanitize: deps ## run every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD)/sanitize SANITIZE=1 all unit-tests
	@sh tests/run.sh $(BUILD)/sanitize

# Seconds that `make fuzz` runs; SEED repeats a run.
FUZZ_SECONDS ?= 60
SEED         ?=

fuzz: ## put random and hostile rows through every quantizer under sanitizers (FUZZ_SECONDS, SEED)
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD)/fuzz SANITIZE=1 CFLAGS='-g -fsanitize=float-cast-overflow' \
	    $(BUILD)/fuzz/fuzz_quantize
	@$(BUILD)/fuzz/fuzz_quantize $(FUZZ_SECONDS) $(SEED)

check-deps: ## fail if a room includes one that stands above it
	@sh tests/check_deps.sh

format: ## format the sources with clang-format
	clang-format -i $$(git ls-files '*.c' '*.h')

bench: all ## measure conversion beside cp and sha256 (and llama.cpp's converter, if LLAMA_CPP names its source)
	@sh bench/convert.sh $(BUILD)/recast

bench-quantize: all ## measure quantization (beside llama-quantize, if LLAMA_QUANTIZE names it)
	@sh bench/quantize.sh $(BUILD)/recast

install: all ## install the program and its recipes under PREFIX (default /usr/local)
	install -D -m 755 $(BUILD)/recast $(DESTDIR)$(PREFIX)/bin/recast
	install -d $(DESTDIR)$(PREFIX)/share/recast/recipes
	install -m 644 recipes/*.json $(DESTDIR)$(PREFIX)/share/recast/recipes
	install -D -m 644 docs/recast.1 $(DESTDIR)$(PREFIX)/share/man/man1/recast.1
	install -D -m 644 cli/recast.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/recast

uninstall: ## remove what install put there
	rm -rf $(DESTDIR)$(PREFIX)/bin/recast $(DESTDIR)$(PREFIX)/share/recast \
	    $(DESTDIR)$(PREFIX)/share/man/man1/recast.1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions/recast

clean: ## remove everything that was built
	rm -rf $(BUILD) out

unit-tests: $(TESTS)

# ---- rules ----
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

define room_rule
$(BUILD)/lib/$(1).a: $$(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_rule,$(room))))

$(BUILD)/lib/cli.a: $(cli_lib)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/recast: $(BUILD)/obj/cli/main.o $(call room_libs,$(below_cli))
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/fuzz_quantize: tests/fuzz_quantize.c $(BUILD)/lib/core.a
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

define test_rule
$(BUILD)/tests/test_$(1)_%: tests/unit/test_$(1)_%.c $$(call room_libs,$$(below_$(1)))
	@mkdir -p $$(@D)
	@$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(ALL_CFLAGS) -Itests/unit -MMD -MP -MF $$@.d -o $$@ $$(filter %.c,$$^) $$(filter %.a,$$^) $$(LIBS) -lcriterion
endef
$(foreach room,$(ROOMS) cli,$(eval $(call test_rule,$(room))))

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
