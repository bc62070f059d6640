// Outputs: what is in the place of a file or of its part, and who writes it.

#include "output.h"

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#if !defined(_WIN32)
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace fs = std::filesystem;

static int failures = 0;

static void check(bool right, const std::string & wrong) {
    if (!right) {
        fprintf(stderr, "%s\n", wrong.c_str());
        failures++;
    }
}

// what an output says when it is opened and written
static std::string refusal(const std::string & path) {
    try {
        output_file out(path);
        out.clear();
        out.write("new", 3);
        out.finish();
    } catch (const std::exception & e) {
        return e.what();
    }
    return "";
}

static void check_refused(const std::string & path, const std::string & expected) {
    const std::string said = refusal(path);
    check(said.find(expected) != std::string::npos, path + ": said \"" + said + "\", not \"" + expected + "\"");
}

static std::string content(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    return { std::istreambuf_iterator<char>(file), {} };
}

static void put(const std::string & path, const std::string & text) {
    std::ofstream(path, std::ios::binary) << text;
}

static void test_whole_files(const std::string & folder) {
    const std::string path = folder + "/out";
    check(refusal(path).empty() && content(path) == "new", "a file is not written");
    check(!fs::exists(part_path(path)), "a part is left");
    put(path, "old");
    check(refusal(path).empty() && content(path) == "new", "a file is not written anew");
}

static void test_parts_that_were_left(const std::string & folder) {
    const std::string path = folder + "/left";
    put(part_path(path), "some");
    output_file out(path);
    char        found[4];
    check(!out.is_empty(), "a part that was left is not found");
    out.seek(0);
    check(out.read(found, sizeof(found)) == 4 && std::string(found, 4) == "some", "a part that was left is not read");
    out.clear();
    check(out.is_empty(), "a part is not cleared");
}

static void test_long_names(const std::string & folder) {
    const std::string path = folder + "/" + std::string(255, 'n');
    check(refusal(path).empty() && content(path) == "new", "a name of 255 bytes does not work");
    check(part_path(folder + "/" + std::string(254, 'n') + "a") != part_path(folder + "/" + std::string(254, 'n') + "b"),
          "parts of long names are one");
}

static void test_inputs(const std::string & folder) {
    const std::string input = folder + "/input";
    put(input, "some");
    check_output(input);
    try {
        check_output(folder + "/./input", { input });
        check(false, "an input may be written over");
    } catch (const std::runtime_error &) {
    }
    const file_stamp stamp(input);
    stamp.check();
    put(input, "other");
    try {
        stamp.check();
        check(false, "a change of an input is not seen");
    } catch (const std::runtime_error &) {
    }
}

#if !defined(_WIN32)
static void test_what_is_no_file(const std::string & folder) {
    check_refused("/dev/null", "not written over");
    check_refused(folder, "not written over");
    const std::string fifo = folder + "/fifo";
    check(mkfifo(fifo.c_str(), 0600) == 0, "no FIFO");
    check_refused(fifo, "not written over");
    check(mkfifo(part_path(folder + "/a").c_str(), 0600) == 0, "no FIFO");
    check_refused(folder + "/a", "take it away");
}

static void test_links(const std::string & folder) {
    const std::string victim = folder + "/victim";
    put(victim, "precious");
    fs::create_symlink("victim", part_path(folder + "/b"));
    check_refused(folder + "/b", "take it away");
    fs::create_hard_link(victim, part_path(folder + "/c"));
    check_refused(folder + "/c", "another name");
    fs::create_symlink("nowhere", part_path(folder + "/d"));
    check_refused(folder + "/d", "take it away");
    check(content(victim) == "precious" && !fs::exists(folder + "/nowhere"), "a link was followed");
}

static void test_two_at_once(const std::string & folder) {
    const std::string path  = folder + "/both";
    auto              first = std::make_unique<output_file>(path);
    check_refused(path, "another process is writing it");
    first->write("whole", 5);
    first->finish();
    // The first still has the finished file open: it is not what the second writes.
    output_file second(path);
    second.write("half", 4);
    second.flush();
    check(content(path) == "whole", "a finished file was written into");
}
#endif

int main() {
    std::string folder = (fs::temp_directory_path() / ("test-tenpak-output-" + std::to_string(time(nullptr)))).string();
#if !defined(_WIN32)
    folder += "-" + std::to_string(getpid());
#endif
    fs::create_directory(folder);
    try {
        test_whole_files(folder);
        test_parts_that_were_left(folder);
        test_long_names(folder);
        test_inputs(folder);
#if !defined(_WIN32)
        test_what_is_no_file(folder);
        test_links(folder);
        test_two_at_once(folder);
#endif
    } catch (const std::exception & e) {
        check(false, e.what());
    }
    fs::remove_all(folder);
    return failures ? 1 : 0;
}
