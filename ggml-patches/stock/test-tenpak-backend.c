// Products of an unpatched ggml with the weights of a file, beside those of the weights as floats.
//
//   GGML_BACKEND_PATH=libggml-tenpak.so test-tenpak-backend MODULES FILE
//
// MODULES is the folder of ggml's libraries. Ends with 2 if ggml refuses the file, with 1 if a product is wrong.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"
#include "gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COLUMNS 3

// Errors of products over the products, both squared: activations have eight bits.
#define MOST_ERROR 1e-3

static float * random_values(int64_t n) {
    float *  values = malloc(n * sizeof(float));
    uint64_t state  = 1;
    for (int64_t i = 0; i < n; i++) {
        state     = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float) (int32_t) (state >> 32) / 2147483648.0f;
    }
    return values;
}

static double error_of(const struct ggml_tensor * weight, const float * x, const float * products) {
    const int64_t n       = weight->ne[0];
    float *       row     = malloc(n * sizeof(float));
    double        squares = 0, errors = 0;
    for (int64_t r = 0; r < weight->ne[1]; r++) {
        ggml_get_type_traits(weight->type)->to_float((const char *) weight->data + r * weight->nb[1], row, n);
        for (int c = 0; c < COLUMNS; c++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++) {
                sum += (double) row[i] * x[c * n + i];
            }
            const double error = products[c * weight->ne[1] + r] - sum;
            squares += sum * sum;
            errors += error * error;
        }
    }
    free(row);
    return errors / squares;
}

static double multiply(ggml_backend_t backend, struct ggml_tensor * weight) {
    const struct ggml_init_params params  = { 8 * ggml_tensor_overhead() + ggml_graph_overhead(), NULL, /*no_alloc =*/true };
    struct ggml_context *         ctx     = ggml_init(params);
    struct ggml_tensor *          w       = ggml_new_tensor_2d(ctx, weight->type, weight->ne[0], weight->ne[1]);
    struct ggml_tensor *          x       = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, weight->ne[0], COLUMNS);
    struct ggml_tensor *          product = ggml_mul_mat(ctx, w, x);
    struct ggml_cgraph *          graph   = ggml_new_graph(ctx);
    ggml_build_forward_expand(graph, product);
    ggml_backend_buffer_t buffer   = ggml_backend_alloc_ctx_tensors(ctx, backend);
    float *               values   = random_values(ggml_nelements(x));
    float *               products = malloc(ggml_nbytes(product));
    ggml_backend_tensor_set(w, weight->data, 0, ggml_nbytes(w));
    ggml_backend_tensor_set(x, values, 0, ggml_nbytes(x));
    ggml_backend_graph_compute(backend, graph);
    ggml_backend_tensor_get(product, products, 0, ggml_nbytes(product));
    const double error = error_of(weight, values, products);
    free(products);
    free(values);
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
    return error;
}

int main(int argc, char ** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: test-tenpak-backend MODULES FILE\n");
        return 3;
    }
    ggml_backend_load_all_from_path(argv[1]);
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    if (!backend) {
        fprintf(stderr, "%s: there is no CPU backend\n", argv[1]);
        return 3;
    }
    struct ggml_context *         weights = NULL;
    const struct gguf_init_params params  = { /*no_alloc =*/false, &weights };
    struct gguf_context *         file    = gguf_init_from_file(argv[2], params);
    if (!file) {
        printf("refused\n");
        return 2;
    }
    int wrong = 0;
    for (struct ggml_tensor * t = ggml_get_first_tensor(weights); t; t = ggml_get_next_tensor(weights, t)) {
        if (!ggml_is_quantized(t->type) || ggml_n_dims(t) != 2) {
            continue;
        }
        const double error = multiply(backend, t);
        printf("%s %s %.3g\n", t->name, ggml_type_name(t->type), error);
        wrong += !(error < MOST_ERROR);
    }
    gguf_free(file);
    ggml_free(weights);
    ggml_backend_free(backend);
    return wrong > 0;
}
