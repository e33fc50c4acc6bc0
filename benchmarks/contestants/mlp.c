// Train multi-layer perceptrons of one hidden layer with Adam, one fit per thread.
// Usage: mlp INPUT OUTPUT; c_program.py writes the input and defines the sizes.
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_KERNEL_1 (N_FEATURES * N_HIDDEN)
#define N_KERNEL_2 (N_HIDDEN * N_LABELS)
#define N_WEIGHTS (N_KERNEL_1 + N_HIDDEN + N_KERNEL_2 + N_LABELS)

typedef struct {
    int n_train, n_test;
    int *rows;  // training rows, then test rows
    float weights[N_WEIGHTS];
    float *scores;
} Fit;

static int n_samples, n_fits, batch_size, epochs, n_threads, next_fit;
static float *X, *y;
static Fit *fits;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void forward(const float *weights, const float *x, float *hidden, float *p) {
    const float *bias_1 = weights + N_KERNEL_1, *kernel_2 = bias_1 + N_HIDDEN;
    const float *bias_2 = kernel_2 + N_KERNEL_2;
    memcpy(hidden, bias_1, sizeof(float) * N_HIDDEN);
    for (int i = 0; i < N_FEATURES; i++)
        for (int j = 0; j < N_HIDDEN; j++) hidden[j] += x[i] * weights[i * N_HIDDEN + j];
    for (int j = 0; j < N_HIDDEN; j++) hidden[j] = hidden[j] > 0 ? hidden[j] : 0;
    memcpy(p, bias_2, sizeof(float) * N_LABELS);
    for (int j = 0; j < N_HIDDEN; j++)
        for (int k = 0; k < N_LABELS; k++) p[k] += hidden[j] * kernel_2[j * N_LABELS + k];
    for (int k = 0; k < N_LABELS; k++) p[k] = 1 / (1 + expf(-p[k]));
}

static void backward(const float *weights, const float *x, const float *target,
                     const float *hidden, const float *p, float scale, float *gradient) {
    const float *kernel_2 = weights + N_KERNEL_1 + N_HIDDEN;
    float *bias_1 = gradient + N_KERNEL_1, *g_kernel_2 = bias_1 + N_HIDDEN;
    float *bias_2 = g_kernel_2 + N_KERNEL_2;
    float d_hidden[N_HIDDEN] = {0};
    for (int k = 0; k < N_LABELS; k++) {
        float d = (p[k] - target[k]) * scale;
        bias_2[k] += d;
        for (int j = 0; j < N_HIDDEN; j++) {
            g_kernel_2[j * N_LABELS + k] += d * hidden[j];
            d_hidden[j] += d * kernel_2[j * N_LABELS + k];
        }
    }
    for (int j = 0; j < N_HIDDEN; j++) {
        d_hidden[j] = hidden[j] > 0 ? d_hidden[j] : 0;
        bias_1[j] += d_hidden[j];
    }
    for (int i = 0; i < N_FEATURES; i++)
        for (int j = 0; j < N_HIDDEN; j++) gradient[i * N_HIDDEN + j] += x[i] * d_hidden[j];
}

static void train(Fit *fit, uint64_t random) {
    float first[N_WEIGHTS] = {0}, second[N_WEIGHTS] = {0}, hidden[N_HIDDEN], p[N_LABELS];
    double power_1 = 1, power_2 = 1;
    for (int epoch = 0; epoch < epochs; epoch++) {
        for (int i = fit->n_train - 1; i > 0; i--) {  // Fisher-Yates, by xorshift
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            int j = random % (i + 1), row = fit->rows[i];
            fit->rows[i] = fit->rows[j], fit->rows[j] = row;
        }
        for (int start = 0; start < fit->n_train; start += batch_size) {
            int end = start + batch_size < fit->n_train ? start + batch_size : fit->n_train;
            float gradient[N_WEIGHTS] = {0}, scale = 1.0f / ((end - start) * N_LABELS);
            for (int i = start; i < end; i++) {
                const float *x = X + (size_t)fit->rows[i] * N_FEATURES;
                forward(fit->weights, x, hidden, p);
                backward(fit->weights, x, y + (size_t)fit->rows[i] * N_LABELS, hidden, p, scale,
                         gradient);
            }
            power_1 *= 0.9, power_2 *= 0.999;
            float rate = 1e-3 * sqrt(1 - power_2) / (1 - power_1);
            for (int w = 0; w < N_WEIGHTS; w++) {
                first[w] += 0.1f * (gradient[w] - first[w]);
                second[w] += 0.001f * (gradient[w] * gradient[w] - second[w]);
                fit->weights[w] -= rate * first[w] / (sqrtf(second[w]) + 1e-7f);
            }
        }
    }
    for (int i = 0; i < fit->n_test; i++)
        forward(fit->weights, X + (size_t)fit->rows[fit->n_train + i] * N_FEATURES, hidden,
                fit->scores + (size_t)i * N_LABELS);
}

static void *work(void *unused) {
    for (;;) {
        pthread_mutex_lock(&mutex);
        int number = next_fit++;
        pthread_mutex_unlock(&mutex);
        if (number >= n_fits) return unused;
        train(&fits[number], 88172645463325252u + number);
    }
}

static void *read_array(FILE *file, size_t size, size_t n) {
    void *array = malloc(size * n);
    if (!array || fread(array, size, n, file) != n) {
        fprintf(stderr, "mlp: the input is too short, or does not fit into memory\n");
        exit(1);
    }
    return array;
}

int main(int argc, char **argv) {
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    if (!file) return fprintf(stderr, "usage: mlp INPUT OUTPUT\n"), 2;
    int *header = read_array(file, sizeof(int), 5);
    n_samples = header[0], n_fits = header[1], batch_size = header[2], epochs = header[3];
    n_threads = header[4];
    X = read_array(file, sizeof(float) * N_FEATURES, n_samples);
    y = read_array(file, sizeof(float) * N_LABELS, n_samples);
    fits = calloc(n_fits, sizeof(Fit));
    for (int i = 0; i < n_fits; i++) {
        int *n_rows = read_array(file, sizeof(int), 2);
        fits[i].n_train = n_rows[0], fits[i].n_test = n_rows[1];
        fits[i].rows = read_array(file, sizeof(int), n_rows[0] + n_rows[1]);
        memcpy(fits[i].weights, read_array(file, sizeof(float), N_WEIGHTS), sizeof(float) * N_WEIGHTS);
        fits[i].scores = malloc(sizeof(float) * N_LABELS * n_rows[1]);
    }
    fclose(file);
    pthread_t threads[n_threads];
    for (int i = 0; i < n_threads; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
    file = fopen(argv[2], "wb");
    for (int i = 0; i < n_fits; i++)
        fwrite(fits[i].scores, sizeof(float) * N_LABELS, fits[i].n_test, file);
    return fclose(file);
}
