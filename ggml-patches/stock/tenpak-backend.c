// A backend without devices for a llama.cpp that nobody patched: when it is loaded, it fills entries of ggml's tables of types that belong
// to no type any more, so that files of `tenpak-gguf export --stock-ids` can be read and multiplied with. docs/stock-builds.md.
//
//   GGML_BACKEND_PATH=libggml-tenpak.so llama-cli -m FILE
//
// Nothing is filled unless ggml is of the version that this was made for and all entries are empty.

#define _GNU_SOURCE
#include "ggml-backend-impl.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "tenpak.h"

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Ids of types that ggml once had and has no more. src/export/stock.rs has the same.
#define STOCK_ID_T2 4
#define STOCK_ID_T25 5
#define STOCK_ID_T3 31
#define STOCK_ID_A8 32
#define STOCK_ID_T35 33
#define STOCK_ID_T4 36
#define STOCK_ID_T5 37

#define FOR_EACH_STOCK_WEIGHT(X) X(T2, t2) X(T25, t25) X(T3, t3) X(T35, t35) X(T4, t4) X(T5, t5)

struct filled_type {
    int                         id;
    struct ggml_type_traits     traits;
    struct ggml_type_traits_cpu traits_cpu;
};

// Weights and bytes of a block, from tenpak.h.
enum {
#define EXTENTS(NAME, name, id, len, bytes, ...) LEN_##NAME = len, BYTES_##NAME = bytes,
    TENPAK_FOR_EACH_WEIGHT(EXTENTS)
    TENPAK_FOR_EACH_ACTIVATION(EXTENTS)
#undef EXTENTS
};

static const struct filled_type FILLED[] = {
    { STOCK_ID_A8,
      { .type_name = "tenpak_a8", .blck_size = LEN_A8, .type_size = BYTES_A8, .is_quantized = true },
      { .from_float = tenpak_a8_from_float } },
#define FILL(NAME, name)                                                                                       \
    { STOCK_ID_##NAME,                                                                                         \
      { .type_name      = #name,                                                                               \
        .blck_size      = LEN_##NAME,                                                                          \
        .type_size      = BYTES_##NAME,                                                                        \
        .is_quantized   = true,                                                                                \
        .to_float       = tenpak_##name##_to_float,                                                            \
        .from_float_ref = tenpak_##name##_from_float },                                                        \
      { .from_float   = tenpak_##name##_from_float,                                                            \
        .vec_dot      = tenpak_##name##_vec_dot,                                                               \
        .vec_dot_type = (enum ggml_type) STOCK_ID_A8,                                                          \
        .nrows        = 1 } },
    FOR_EACH_STOCK_WEIGHT(FILL)
#undef FILL
};
static const size_t N_FILLED = sizeof(FILLED) / sizeof(FILLED[0]);

// A function of a library that is loaded already, whatever program or library loaded it.
struct wanted {
    const char * library;
    const char * function;
    void *       found;
};

static int look_at(struct dl_phdr_info * info, size_t size, void * data) {
    (void) size;
    struct wanted * wanted = data;
    const char *    slash  = strrchr(info->dlpi_name, '/');
    const char *    name   = slash ? slash + 1 : info->dlpi_name;
    if (strncmp(name, wanted->library, strlen(wanted->library)) != 0) {
        return 0;
    }
    void * library = dlopen(info->dlpi_name, RTLD_NOW | RTLD_NOLOAD);
    if (library) {
        wanted->found = dlsym(library, wanted->function);
        dlclose(library);
    }
    return wanted->found != NULL;
}

static void * function_of(const char * library, const char * function) {
    struct wanted wanted = { library, function, NULL };
    dl_iterate_phdr(look_at, &wanted);
    return wanted.found;
}

// Copies into a table of constants, whose pages are writable for that long.
static bool write_constant(const void * place, const void * bytes, size_t n) {
    const uintptr_t page  = (uintptr_t) sysconf(_SC_PAGESIZE);
    const uintptr_t first = (uintptr_t) place / page * page;
    const size_t    size  = (((uintptr_t) place + n + page - 1) / page * page) - first;
    if (mprotect((void *) first, size, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    memcpy((void *) place, bytes, n);
    return mprotect((void *) first, size, PROT_READ) == 0;
}

// Says why nothing is filled.
static ggml_backend_reg_t refuse(const char * why, const char * what) {
    fprintf(stderr, "libggml-tenpak.so: %s%s; files of --stock-ids cannot be read\n", why, what);
    return NULL;
}

static const char * get_name(ggml_backend_reg_t reg) {
    (void) reg;
    return "tenpak";
}

static size_t get_device_count(ggml_backend_reg_t reg) {
    (void) reg;
    return 0;
}

static ggml_backend_dev_t get_device(ggml_backend_reg_t reg, size_t index) {
    (void) reg;
    (void) index;
    return NULL;
}

// llama.cpp calls it when it loads the library.
__attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init(void) {
    static struct ggml_backend_reg reg = { GGML_BACKEND_API_VERSION, { get_name, get_device_count, get_device, NULL }, NULL };
    static bool                    is_done;
    if (is_done) {
        return &reg;
    }
    const char * (*version)(void) = (const char * (*) (void)) function_of("libggml-base", "ggml_version");
    const struct ggml_type_traits * (*traits)(enum ggml_type) =
        (const struct ggml_type_traits * (*) (enum ggml_type)) function_of("libggml-base", "ggml_get_type_traits");
    const struct ggml_type_traits_cpu * (*traits_cpu)(enum ggml_type) =
        (const struct ggml_type_traits_cpu * (*) (enum ggml_type)) function_of("libggml-cpu", "ggml_get_type_traits_cpu");
    if (!version || !traits || !traits_cpu) {
        return refuse("libggml-base and libggml-cpu are not here as libraries of their own", "");
    }
    if (strcmp(version(), TENPAK_GGML_VERSION) != 0) {
        return refuse("it is made for ggml " TENPAK_GGML_VERSION ", and this is ", version());
    }
    for (size_t i = 0; i < N_FILLED; i++) {
        const enum ggml_type                type      = (enum ggml_type) FILLED[i].id;
        const struct ggml_type_traits *     there     = traits(type);
        const struct ggml_type_traits_cpu * there_cpu = traits_cpu(type);
        if (there->blck_size != 0 || there->type_size != 0 || there_cpu->vec_dot || there_cpu->from_float) {
            return refuse("an entry of ggml's tables is not empty: ", there->type_name);
        }
    }
    for (size_t i = 0; i < N_FILLED; i++) {
        const enum ggml_type type = (enum ggml_type) FILLED[i].id;
        // The length is written last: without it no file is read.
        if (!write_constant(traits_cpu(type), &FILLED[i].traits_cpu, sizeof(FILLED[i].traits_cpu)) ||
            !write_constant(traits(type), &FILLED[i].traits, sizeof(FILLED[i].traits))) {
            return refuse("the system does not let ggml's tables be filled", "");
        }
    }
    is_done = true;
    return &reg;
}
