// How fast this machine computes what a calibration consists of.

#pragma once

#include "ggml.h"

// Prints a line for programs, in operations a second: products with many tokens, with a few, and the sums. Takes about a second.
// type: of the weights
void print_speed(ggml_type type, int n_threads);
