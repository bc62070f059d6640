// What a run tells on standard error: how far it is, in words for people.

#pragma once

#include <chrono>
#include <string>

// "12.3 MB", in powers of ten
std::string human_bytes(double n);

// "40 s", "7 min"
std::string human_seconds(double s);

// One line that is written over on a terminal.
class progress_line {
  public:
    progress_line();

    // always: not only when the last one was some time ago; last: of its kind, to be kept on a terminal
    void show(const std::string & text, bool always, bool last);

  private:
    const bool terminal;

    std::chrono::steady_clock::time_point shown = std::chrono::steady_clock::now();
};
