#include "progress.h"

#include "common.h"

#include <cstdio>

#if defined(_WIN32)
#include <io.h>
#define isatty _isatty
#define fileno _fileno
#else
#include <unistd.h>
#endif

std::string human_bytes(double n) {
    const char * units[] = { "B", "kB", "MB", "GB", "TB" };
    int          unit    = 0;
    for (; n >= 1000 && unit < 4; unit++) {
        n /= 1000;
    }
    return string_format(unit == 0 ? "%.0f %s" : "%.1f %s", n, units[unit]);
}

std::string human_seconds(double s) {
    if (s < 100) {
        return string_format("%.0f s", s);
    }
    return s < 6000 ? string_format("%.0f min", s / 60) : string_format("%.1f h", s / 3600);
}

progress_line::progress_line() : terminal(isatty(fileno(stderr))) {}

void progress_line::show(const std::string & text, bool always, bool last) {
    const auto now = std::chrono::steady_clock::now();
    if (!always && !last && now - shown < std::chrono::milliseconds(terminal ? 500 : 10000)) {
        return;
    }
    shown = now;
    fprintf(stderr, terminal ? "\r%-78s%s" : "%s%s", text.c_str(), !terminal || last ? "\n" : "");
    fflush(stderr);
}
