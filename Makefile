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
PKGS  := libcrypto libcjson libcurl libzip libzstd

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

.PHONY: all demo test cuda cuda-report check-gpu test-publish test-neon neon deps sanitize check-deps format bench bench-quantize bench-run bench-kernels fuzz install uninstall clean help unit-tests cli-tests
.DEFAULT_GOAL := all

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

all: $(BUILD)/recast ## build the program as build/recast

deps: ## install what is missing, through the system's package manager
	@sh tests/deps.sh $(DEPS)

demo: deps ## the main job on the bundled tiny model: derive, convert, validate, package, generate
	@$(MAKE) --no-print-directory -j$$(nproc) CUDA=0 all
	@sh tests/demo.sh $(BUILD)/recast

test: DEPS = --cross
test: deps ## run every test (sets up what it needs)
	@$(MAKE) --no-print-directory check-deps
	@$(MAKE) --no-print-directory -j$$(nproc) neon
	@$(MAKE) --no-print-directory -j$$(nproc) all unit-tests
	@sh tests/run.sh $(BUILD)

sanitize: deps ## run every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD)/sanitize SANITIZE=1 CUDA=0 all unit-tests
	@sh tests/run.sh $(BUILD)/sanitize

# ---- 64-bit Arm, on a machine of another kind ----
CROSS    ?= aarch64-linux-gnu-gcc
ARM64    := $(BUILD)/arm64
NEON_SRC := $(call sources,runner/cpu) core/cpu.c core/sha256_arm.c $(wildcard core/quantize*.c)
# Unit tests that test-neon runs: core_NAME, model_NAME, runner_NAME.
NEON_TESTS ?= core_cpu core_floats core_strict_math core_sha256 $(patsubst tests/unit/test_%.c,%,$(wildcard \
    tests/unit/test_core_quantize*.c tests/unit/test_runner_cpu*.c tests/unit/test_runner_quantized.c))

neon: ## compile the kernels for 64-bit Arm, if there is a compiler for it (CROSS)
	@if command -v $(CROSS) >/dev/null 2>&1; then \
	    $(MAKE) --no-print-directory CC=$(CROSS) BUILD=$(ARM64) PKGS= SANITIZE= $(patsubst %.c,$(ARM64)/obj/%.o,$(NEON_SRC)); \
	else echo "neon: not compiled: no $(CROSS) (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"; fi

test-neon: ## run unit tests for 64-bit Arm in an emulator (NEON_TESTS; sets up what it needs)
	@sh tests/arm64/setup.sh $(ARM64)/root
	@mkdir -p $(ARM64)/lib
	@$(CROSS) -O2 -Itests/arm64 -c tests/arm64/criterion.c -o $(ARM64)/lib/criterion.o
	@ar rcs $(ARM64)/lib/libcriterion.a $(ARM64)/lib/criterion.o
	@PKG_CONFIG_SYSROOT_DIR=$(abspath $(ARM64)/root) PKG_CONFIG_LIBDIR=$(abspath $(ARM64)/root)/usr/lib/aarch64-linux-gnu/pkgconfig \
	    $(MAKE) --no-print-directory -j$$(nproc) CC=$(CROSS) BUILD=$(ARM64) PKGS='libcrypto libcjson' SANITIZE= \
	    CFLAGS='$(CFLAGS) -Itests/arm64 -L$(ARM64)/lib' $(patsubst %,$(ARM64)/tests/test_%,$(NEON_TESTS))
	@sh tests/arm64/run.sh $(ARM64) $(ARM64)/root $(NEON_TESTS)

# ---- CUDA: a shared object that the program opens at run time (docs/cuda.md) ----
# On by default where nvcc is found; CUDA=0 leaves it out. All six architectures take a minute and a half on two cores.
NVCC       ?= $(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc 2>/dev/null))
# V13.0.88, say; nothing if it is older than 12.8, which is the first to know sm_100 and sm_120
NVCC_IS    := $(if $(NVCC),$(shell $(NVCC) --version | sed -n 's/.*, V//p' | awk -F. '$$1 * 100 + $$2 >= 1208'))
CUDA       ?= $(if $(NVCC_IS),1,0)
all: $(if $(filter 1,$(CUDA)),cuda)
CUDA_ARCHS ?= 80 86 89 90 100 120
CUDA_DEBUG ?=
CUDA_SRC   := $(sort $(wildcard runner/cuda/*.cu runner/cuda/*.cuh runner/cuda/*.h)) core/strict_math.h core/dtype.h core/error.h
# No contraction, no flush to zero, correctly rounded division and root: the bits are those of the processor.
CUDA_STRICT = -std=c++17 -O3 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true -diag-suppress 128 -I. $(if $(CUDA_DEBUG),-DRECAST_CUDA_DEBUG -lineinfo)
CUDA_CODE   = $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
              $(foreach a,$(sort $(firstword $(CUDA_ARCHS)) $(lastword $(CUDA_ARCHS))),-gencode arch=compute_$(a),code=compute_$(a))
CUDA_HOST   = -Xcompiler -fPIC,-fvisibility=hidden,-ffp-contract=off -shared

cuda: $(if $(NVCC_IS),$(BUILD)/recast_cuda.so) ## build the CUDA runner as build/recast_cuda.so (CUDA_ARCHS, CUDA_DEBUG=1)
	@$(if $(NVCC_IS),:,echo "cuda: not built: $(if $(NVCC),$(NVCC) is older than 12.8,no nvcc) (docs/cuda.md says how to get one)")

# The library is made anew when what it is made of differs, not when a file is merely newer: compiler, flags, sources.
$(BUILD)/cuda/key: always
	@mkdir -p $(@D)
	@{ echo '$(NVCC_IS) $(CUDA_STRICT) $(CUDA_CODE) $(CUDA_HOST)'; cat $(CUDA_SRC); } | sha256sum >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
.PHONY: always

# Beside it stay what ptxas said of each kernel and the PTX, for tests/cuda/report.sh. Here a spill is a warning, since releases differ; in
# `make test` it is an error.
CUDA_LOG = grep -vE '^ptxas info |^ +[0-9]+ bytes stack frame' $(BUILD)/cuda/log
$(BUILD)/recast_cuda.so: $(BUILD)/cuda/key
	@$(call say,NVCC,'$@ ($(strip $(foreach a,$(CUDA_ARCHS),sm_$(a))); a while; CUDA=0 leaves it out)')
	@rm -rf $(BUILD)/cuda/keep $(BUILD)/cuda/*.ptx $@ && mkdir -p $(BUILD)/cuda/keep
	$(Q)$(NVCC) $(CUDA_STRICT) $(CUDA_CODE) --threads 0 -Xptxas -v,-warn-spills --keep --keep-dir $(BUILD)/cuda/keep $(CUDA_HOST) \
	    -o $@ runner/cuda/runner.cu >$(BUILD)/cuda/log 2>&1 || { $(CUDA_LOG); rm -rf $@ $(BUILD)/cuda/keep; exit 1; }
	@$(CUDA_LOG) || :
	@echo 'nvcc $(NVCC_IS): registers, bytes of stack, bytes of static shared memory of each kernel' >$(BUILD)/cuda/release
	@mv $(BUILD)/cuda/keep/*.ptx $(BUILD)/cuda && rm -rf $(BUILD)/cuda/keep

cuda-report: cuda ## registers, shared memory and spills of each kernel, compared with tests/cuda/report.txt (UPDATE=1 writes that anew)
	$(if $(NVCC_IS),@sh tests/cuda/report.sh table $(BUILD))
	$(if $(NVCC_IS),$(if $(UPDATE),@sh tests/cuda/report.sh pin $(BUILD)))
	$(if $(NVCC_IS),@sh tests/cuda/report.sh check $(BUILD) || [ $$? = 77 ])

check-gpu: all cuda $(BUILD)/gpu_bench ## on a machine with a GPU: compare it with the processor, bit for bit, and measure it (JSON; bench/gpu.sh)
	@sh bench/gpu.sh $(BUILD)/recast $(JSON)

$(BUILD)/gpu_bench: bench/gpu.c $(call room_libs,$(below_runner))
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

# The kernels compiled for the processor, for tests on machines without a GPU.
CXX_OF_CC = $(if $(filter %gcc,$(CC)),$(patsubst %gcc,%g++,$(CC)),c++)
HOST_CUDA = $(CFLAGS) $(filter-out -std=%,$(STRICT)) -std=c++17 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-unknown-pragmas \
            -Wno-unused-function -I. -Itests/cuda/host
$(BUILD)/recast_cuda_host.so: $(CUDA_SRC) $(wildcard tests/cuda/host/*)
	@mkdir -p $(@D)
	@$(call say,CXX,$@)
	$(Q)$(CXX_OF_CC) $(HOST_CUDA) -shared -o $@ -x c++ runner/cuda/runner.cu tests/cuda/host/fibers.cpp

$(BUILD)/tests/test_runner_cuda $(BUILD)/tests/test_runner_device_memory: | $(BUILD)/recast_cuda_host.so

# Seconds that `make fuzz` runs; SEED repeats a run.
FUZZ_SECONDS ?= 60
SEED         ?=

fuzz: ## put random and hostile rows through every quantizer under sanitizers (FUZZ_SECONDS, SEED)
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=$(BUILD)/fuzz SANITIZE=1 CFLAGS='-g -fsanitize=float-cast-overflow' \
	    $(BUILD)/fuzz/fuzz_quantize
	@$(BUILD)/fuzz/fuzz_quantize $(FUZZ_SECONDS) $(SEED)

test-publish: all $(BUILD)/hub_server ## publish 300 MB to a test server with refusals, dropped connections and kills
	@sh tests/publish_large.sh $(BUILD)

check-deps: ## fail if a room includes one that stands above it
	@sh tests/check_deps.sh

format: ## format the sources with clang-format
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp')

bench: all ## measure conversion beside cp and sha256 (and llama.cpp's converter, if LLAMA_CPP names its source)
	@sh bench/convert.sh $(BUILD)/recast

bench-quantize: all ## measure quantization (beside llama-quantize, if LLAMA_QUANTIZE names it)
	@sh bench/quantize.sh $(BUILD)/recast

bench-run: all ## measure the runner (beside llama-bench, if LLAMA_BENCH names it)
	@sh bench/run.sh $(BUILD)/recast

bench-kernels: $(BUILD)/lib/runner.a $(BUILD)/lib/core.a ## measure each product kernel: from memory, from cache, many vectors (THREADS, SET)
	$(Q)$(CC) $(ALL_CFLAGS) -o $(BUILD)/kernels bench/kernels.c $^ $(LIBS)
	@$(if $(SET),RECAST_CPU=$(SET)) $(BUILD)/kernels $(if $(THREADS),$(THREADS),1)

install: all ## install the program and its recipes under PREFIX (default /usr/local)
	install -D -m 755 $(BUILD)/recast $(DESTDIR)$(PREFIX)/bin/recast
	$(if $(wildcard $(BUILD)/recast_cuda.so),install -D -m 755 $(BUILD)/recast_cuda.so $(DESTDIR)$(PREFIX)/lib/recast/recast_cuda.so)
	install -d $(DESTDIR)$(PREFIX)/share/recast/recipes
	install -m 644 packager/card.md $(DESTDIR)$(PREFIX)/share/recast
	install -m 644 $(filter-out recipes/tiny-%,$(wildcard recipes/*.json)) packager/gpus.json $(DESTDIR)$(PREFIX)/share/recast/recipes
	install -D -m 644 docs/recast.1 $(DESTDIR)$(PREFIX)/share/man/man1/recast.1
	install -D -m 644 cli/recast.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/recast

uninstall: ## remove what install put there
	rm -rf $(DESTDIR)$(PREFIX)/bin/recast $(DESTDIR)$(PREFIX)/lib/recast $(DESTDIR)$(PREFIX)/share/recast \
	    $(DESTDIR)$(PREFIX)/share/man/man1/recast.1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions/recast

clean: ## remove everything that was built
	rm -rf $(BUILD) out

unit-tests: $(TESTS) $(BUILD)/hub_server

# ---- rules ----
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# Tables and texts that the program carries: ROOM/NAME.json becomes the array ROOM_NAME_json, NAME.md ROOM_NAME_md.
data_recipes  := $(BUILD)/obj/recipes/releases.json.o
data_packager := $(BUILD)/obj/packager/gpus.json.o $(BUILD)/obj/packager/card.md.o
define embed_rule
$(BUILD)/obj/%.$(1).c: %.$(1)
	@mkdir -p $$(@D)
	$$(Q){ echo "extern const unsigned char $$(subst /,_,$$*)_$(1)[]; extern const unsigned long $$(subst /,_,$$*)_$(1)_size;"; \
	    echo "const unsigned char $$(subst /,_,$$*)_$(1)[] = {"; od -An -v -tx1 $$< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	    echo "}; const unsigned long $$(subst /,_,$$*)_$(1)_size = sizeof $$(subst /,_,$$*)_$(1);"; } >$$@
.PRECIOUS: $(BUILD)/obj/%.$(1).c
$(BUILD)/obj/%.$(1).o: $(BUILD)/obj/%.$(1).c
	$$(Q)$$(CC) $$(ALL_CFLAGS) -c $$< -o $$@
endef
$(foreach kind,json md,$(eval $(call embed_rule,$(kind))))

define room_rule
$(BUILD)/lib/$(1).a: $$(call objects,$(1)) $$(data_$(1))
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

# A Hub on this machine that checks every byte: tests publish to it.
$(BUILD)/hub_server: $(wildcard tests/hub/*.c tests/hub/*.h) $(BUILD)/lib/core.a
	@$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/hub -o $@ $(filter %.c %.a,$^) $(LIBS)

define test_rule
$(BUILD)/tests/test_$(1)_%: tests/unit/test_$(1)_%.c $$(call room_libs,$$(below_$(1)))
	@mkdir -p $$(@D)
	@$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(ALL_CFLAGS) -Itests/unit -MMD -MP -MF $$@.d -o $$@ $$(filter %.c,$$^) $$(filter %.a,$$^) $$(LIBS) -lcriterion
endef
$(foreach room,$(ROOMS) cli,$(eval $(call test_rule,$(room))))

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
