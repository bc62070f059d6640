#include "windows.h"

#include "common.h"
#include "progress.h"

#include <chrono>
#include <cinttypes>
#include <stdexcept>

std::vector<window> plan_windows(const collector & c, const gram_engine & engine, const gram_file & file, size_t memory) {
    std::vector<window> windows;

    const size_t scratch = engine.scratch_bytes();
    size_t       room    = 0;
    for (size_t i = 0; i < c.inputs.size(); i++) {
        const auto & input = c.inputs[i];
        const size_t bytes = collector::bytes(input);
        if (bytes + scratch > memory) {
            throw std::runtime_error(string_format("%s of memory are too little: the %" PRId64
                                                   " columns of `%s` need --memory %zuM",
                                                   human_bytes(memory).c_str(), input.columns, input.name.c_str(),
                                                   ((bytes + scratch) >> 20) + 1));
        }
        for (int64_t m = 0; m < input.matrices; m++) {
            if (file.has(i, m)) {
                continue;
            }
            if (windows.empty() || bytes > room) {
                windows.emplace_back();
                room = memory - scratch;
            }
            room -= bytes;
            auto & parts = windows.back();
            if (!parts.empty() && parts.back().input == i && parts.back().last == m - 1) {
                parts.back().last = m;
            } else {
                parts.push_back({ i, m, m });
            }
        }
    }
    return windows;
}

void collect_all(text_runner & text, collector & c, gram_engine & engine, gram_file & file, const std::vector<window> & windows) {
    // work of a token in a pass: the model up to the last input, and the sums
    std::vector<double> work;
    for (const auto & parts : windows) {
        work.push_back(c.model_work[parts.back().input]);
        for (const auto & part : parts) {
            work.back() += c.sums_work[part.input] * (part.last - part.first + 1) / c.inputs[part.input].matrices;
        }
    }
    double all = 0;
    for (double w : work) {
        all += w * text.n_chunks();
    }
    const auto    start = std::chrono::steady_clock::now();
    progress_line line;
    double        done = 0;
    for (size_t w = 0; w < windows.size(); w++) {
        c.start_window(engine, windows[w]);
        for (int64_t chunk = 0; chunk < text.n_chunks();) {
            const bool    first = chunk == 0;
            const int64_t n     = text.run(chunk, c);
            chunk += n;
            done  += n * work[w];
            const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            line.show(string_format("pass %zu of %zu: %" PRId64 " of %" PRId64 " tokens, %3.0f %%, %s left", w + 1,
                                    windows.size(), chunk * text.n_ctx, text.n_chunks() * text.n_ctx, 100 * done / all,
                                    human_seconds(seconds * (all / done - 1)).c_str()),
                      first, chunk == text.n_chunks());
        }
        c.end_window(file);
    }
}
