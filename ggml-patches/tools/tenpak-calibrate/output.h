// Files that have their name only when they are complete, and never take the place of what is no plain file.

#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

// Fails if a file cannot be written at path: there is a device, a FIFO, a folder or one of the inputs.
void check_output(const std::string & path, const std::vector<std::string> & inputs = {});

// how large an input is and when it was changed
class file_stamp {
  public:
    explicit file_stamp(const std::string & path);

    // fails if it is another now: what was made of it is of no use
    void check() const;

  private:
    bool operator==(const file_stamp & other) const { return size == other.size && time == other.time; }

    std::string                     path;
    uintmax_t                       size;
    std::filesystem::file_time_type time;
};

// the name of a file that is not complete: path.part, or of a long name a digest
std::string part_path(const std::string & path);

// A file under the name of its part. It is there for this process alone, and a link in its place is not followed.
class output_file {
  public:
    // opens the part of path: a new one, or one that was left
    explicit output_file(const std::string & path);
    ~output_file();

    output_file(const output_file &)             = delete;
    output_file & operator=(const output_file &) = delete;

    // whether nothing is in the part
    bool is_empty();

    // forgets what is in the part
    void clear();

    void seek(uint64_t offset);

    // returns how many bytes were there
    size_t read(void * bytes, size_t n);

    void write(const void * bytes, size_t n);
    void flush();

    // for functions that write into one
    FILE * stream() { return file; }

    // puts all of the file on the disk and gives it its name
    void finish();

    const std::string part;

  private:
    [[noreturn]] void fail(const char * action, int error);

    const std::string path;
    FILE *            file = nullptr;
};
