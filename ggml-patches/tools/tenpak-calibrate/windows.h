// Sums of all inputs within a given memory: windows of consecutive inputs (experts, where one input has many), each of which is a
// pass over the text.

#pragma once

#include "collector.h"
#include "text-runner.h"

#include <vector>

using window = std::vector<window_part>;

// Those of the matrices that are not in the file yet. Throws if the sums of one do not fit the memory, in bytes.
std::vector<window> plan_windows(const collector & c, const gram_engine & engine, const gram_file & file, size_t memory);

// Runs the text for every window, up to its last input, and writes its sums into their place in the file.
void collect_all(text_runner & text, collector & c, gram_engine & engine, gram_file & file, const std::vector<window> & windows);
