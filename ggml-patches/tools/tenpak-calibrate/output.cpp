#include "output.h"

#include "hash/hash.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#if defined(_WIN32)
#include <io.h>
#else
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace fs = std::filesystem;

// bytes of a name on the usual file systems
static const size_t MAX_NAME = 255;

static const char * const PART = ".part";

void check_output(const std::string & path, const std::vector<std::string> & inputs) {
    std::error_code       error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
        return;
    }
    if (!fs::is_regular_file(status)) {
        throw std::runtime_error(path + ": is a folder, a device or the like and is not written over; choose another output");
    }
    for (const auto & input : inputs) {
        if (fs::equivalent(path, input, error) && !error) {
            throw std::runtime_error(path + ": is an input; choose another output");
        }
    }
}

file_stamp::file_stamp(const std::string & path) : path(path) {
    std::error_code error; // one that is not there has the size and time of errors
    size = fs::file_size(path, error);
    time = fs::last_write_time(path, error);
}

void file_stamp::check() const {
    if (!(file_stamp(path) == *this)) {
        throw std::runtime_error(path + ": was changed while it was read; run the program again when nothing writes it any more");
    }
}

std::string part_path(const std::string & path) {
    const std::string name = fs::path(path).filename().string();
    if (name.size() + strlen(PART) <= MAX_NAME) {
        return path + PART;
    }
    const std::string digest = hash_sha256_hex(name.data(), name.size());
    return fs::path(path).replace_filename(".tenpak-" + digest.substr(0, 16) + PART).string();
}

#if defined(_WIN32)
static FILE * open_part(const std::string & part) {
    FILE * file = fopen(part.c_str(), "r+b");
    return file ? file : fopen(part.c_str(), "w+b");
}

static int truncate_file(FILE * file) {
    return _chsize_s(_fileno(file), 0);
}

static int seek_file(FILE * file, uint64_t offset) {
    return _fseeki64(file, offset, SEEK_SET);
}

static int sync_file(FILE * file) {
    return _commit(_fileno(file));
}

static void sync_folder(const fs::path &) {}
#else
// How often the part may be another file when it is locked than when it was opened.
static const int ATTEMPTS = 100;

static FILE * open_part(const std::string & part) {
    for (int i = 0; i < ATTEMPTS; i++) {
        // A FIFO is not waited for.
        const int fd = open(part.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
        struct stat link;
        if (fd < 0) {
            const int error = errno;
            if (lstat(part.c_str(), &link) == 0 && !S_ISREG(link.st_mode)) {
                throw std::runtime_error(part + ": is a link or the like where the unfinished file has to be; take it away");
            }
            errno = error;
            return nullptr;
        }
        struct stat opened;
        if (fstat(fd, &opened) != 0 || !S_ISREG(opened.st_mode)) {
            close(fd);
            throw std::runtime_error(part + ": is a device or the like where the unfinished file has to be; take it away");
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(fd);
            throw std::runtime_error(part + ": another process is writing it; wait for that, or end it");
        }
        // Whoever held it may have given it its final name meanwhile, which must not be written into.
        const bool is_there = lstat(part.c_str(), &link) == 0 && link.st_dev == opened.st_dev && link.st_ino == opened.st_ino;
        if (is_there && link.st_nlink != 1) {
            close(fd);
            throw std::runtime_error(part + ": has another name, whose file would be written over; take it away");
        }
        if (is_there) {
            return fdopen(fd, "r+b");
        }
        close(fd);
    }
    throw std::runtime_error(part + ": other processes write it again and again; end them");
}

static int truncate_file(FILE * file) {
    return ftruncate(fileno(file), 0);
}

static int seek_file(FILE * file, uint64_t offset) {
    return fseeko(file, (off_t) offset, SEEK_SET);
}

static int sync_file(FILE * file) {
    return fsync(fileno(file));
}

// The name is on the disk too. Where a system cannot do that, the file is whole all the same.
static void sync_folder(const fs::path & folder) {
    const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}
#endif

output_file::output_file(const std::string & path) : part(part_path(path)), path(path) {
    check_output(path);
    file = open_part(part);
    if (!file) {
        fail("created", errno);
    }
}

output_file::~output_file() {
    if (file) {
        fclose(file);
    }
}

void output_file::fail(const char * action, int error) {
    throw std::runtime_error(part + ": cannot be " + action + ": " + strerror(error));
}

bool output_file::is_empty() {
    if (fseek(file, 0, SEEK_END) != 0) {
        fail("read", errno);
    }
    return ftell(file) == 0;
}

void output_file::clear() {
    seek(0);
    if (truncate_file(file) != 0) {
        fail("written", errno);
    }
}

void output_file::seek(uint64_t offset) {
    if (seek_file(file, offset) != 0) {
        fail("written", errno);
    }
}

size_t output_file::read(void * bytes, size_t n) {
    return fread(bytes, 1, n, file);
}

void output_file::write(const void * bytes, size_t n) {
    if (fwrite(bytes, 1, n, file) != n) {
        fail("written", errno);
    }
}

void output_file::flush() {
    if (fflush(file) != 0) {
        fail("written", errno);
    }
}

void output_file::finish() {
    flush();
    if (sync_file(file) != 0) {
        fail("written", errno);
    }
#if defined(_WIN32)
    fclose(file); // an open file is not renamed there
    file = nullptr;
#endif
    check_output(path);
    fs::rename(part, path); // while it is locked: nobody else can go on with it
    sync_folder(fs::path(path).parent_path());
}
