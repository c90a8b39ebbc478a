// A WASI program that does everything with files in the folder /data, and says what it sees. It is the same program
// whether or not it is interrupted in between.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

static void say(const char *what, long value) { printf("%s %ld\n", what, value); fflush(stdout); }

static void expect(const char *what, int good) {
    if (good) return;
    fprintf(stderr, "failed: %s (errno %d)\n", what, errno);
    exit(99);
}

static void write_text(int file, const char *text) { expect(text, write(file, text, strlen(text)) == (long)strlen(text)); }

static void say_rest(const char *what, int file) {
    char text[256] = "";
    long size = read(file, text, sizeof text - 1);
    printf("%s %ld '%s' at %ld\n", what, size, text, (long)lseek(file, 0, SEEK_CUR));
    fflush(stdout);
}

// Reading, writing, standing somewhere.
static void positions(void) {
    int file = open("/data/positions", O_CREAT | O_EXCL | O_RDWR, 0600);
    expect("open", file >= 0);
    write_text(file, "0123456789");
    expect("lseek", lseek(file, 3, SEEK_SET) == 3);
    say_rest("rest", file);
    write_text(file, "abc");
    say("cut", ftruncate(file, 11));
    char text[8] = "";
    say("pread", pread(file, text, 4, 8));
    puts(text);
    say("pwrite", pwrite(file, "XY", 2, 1));
    say("at", lseek(file, 0, SEEK_CUR));
    lseek(file, 0, SEEK_SET);
    say_rest("all", file);
    close(file);
}

// Descriptors of one file stand in places of their own; cutting off is not done twice.
static void flags(void) {
    int first = open("/data/flags", O_CREAT | O_TRUNC | O_WRONLY, 0600), again = open("/data/flags", O_RDONLY);
    write_text(first, "one two");
    int end = open("/data/flags", O_WRONLY | O_APPEND);
    write_text(end, " three");
    write_text(first, "!");
    say_rest("flags", again);
    say("appends", (fcntl(end, F_GETFL) & O_APPEND) != 0);
    expect("fcntl", fcntl(end, F_SETFL, 0) == 0);
    say("appends", (fcntl(end, F_GETFL) & O_APPEND) != 0);
    write_text(end, "ONE");
    char text[2];
    say("reads", read(first, text, 1));
    say("error", errno);
    lseek(again, 0, SEEK_SET);
    say_rest("flags", again);
    close(again);
    close(first);
    close(end);
}

// Numbers: the lowest one that is free, and those that were changed.
static void numbers(void) {
    int files[4];
    for (int place = 0; place < 4; place++) {
        char name[32];
        sprintf(name, "/data/number%d", place);
        files[place] = open(name, O_CREAT | O_RDWR, 0600);
        write_text(files[place], name);
    }
    close(files[1]);
    expect("renumber", __wasi_fd_renumber(files[3], files[2]) == 0);
    lseek(files[2], 0, SEEK_SET);
    say_rest("moved", files[2]);
    int next = open("/data/number1", O_RDONLY);
    say("next", next);
    say_rest("number 1", next);
    int after = open("/data/number0", O_RDONLY);
    say("after", after);
    expect("swap", __wasi_fd_renumber(after, files[0]) == 0);
    say_rest("number 0", files[0]);
    say("closed", close(after));
    close(files[0]);
    close(next);
    close(files[2]);
}

// Folders: opened below others, read in the middle, with links and "..".
static void folders(void) {
    expect("mkdir", mkdir("/data/folder", 0700) == 0 && mkdir("/data/folder/inner", 0700) == 0);
    int folder = open("/data/folder", O_RDONLY | O_DIRECTORY);
    int inner = openat(folder, "inner/../inner", O_RDONLY | O_DIRECTORY);
    for (int number = 0; number < 9; number++) {
        char name[16];
        sprintf(name, "entry%d", number);
        close(openat(folder, name, O_CREAT | O_WRONLY, 0600));
    }
    expect("symlink", symlinkat("../entry3", inner, "link") == 0);
    int file = open("/data/folder/./inner/link", O_RDWR);
    expect("openat", file >= 0);
    write_text(file, "by a link");
    close(file);
    file = open("/data/folder/entry3", O_RDWR | O_APPEND);
    char target[32] = "";
    say("readlink", readlinkat(inner, "link", target, sizeof target));
    puts(target);
    int entries = 0, sum = 0;
    DIR *listing = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY));
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (entry->d_name[0] == 'e') entries++, sum += 1 << (entry->d_name[5] - '0');
        struct stat status;
        expect("fstatat", entry->d_name[0] == '.' || fstatat(folder, entry->d_name, &status, 0) == 0);
    }
    say("entries", entries);
    say("each", sum);
    closedir(listing);
    expect("renameat", renameat(folder, "entry3", inner, "moved") == 0);
    write_text(file, ", renamed");
    struct stat status;
    expect("fstat", fstat(file, &status) == 0);
    say("size", status.st_size);
    close(inner);
    close(folder);
    lseek(file, 0, SEEK_SET);
    say_rest("file", file);
    close(file);
    expect("unlink", unlink("/data/folder/inner/link") == 0 && unlink("/data/folder/inner/moved") == 0);
    say("not empty", rmdir("/data/folder"));
    expect("rmdir", rmdir("/data/folder/inner") == 0);
    say("gone", access("/data/folder/inner", F_OK));
}

// Names: links, times, sizes, what a file is; and that a file stays the one that was opened.
static void names(void) {
    int file = open("/data/name", O_CREAT | O_RDWR, 0600);
    write_text(file, "name");
    expect("link", link("/data/name", "/data/second") == 0);
    struct stat status, other;
    expect("stat", fstat(file, &status) == 0 && stat("/data/second", &other) == 0);
    say("links", status.st_nlink);
    say("same", status.st_ino == other.st_ino && status.st_dev == other.st_dev);
    struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1100000000, .tv_nsec = 5}};
    expect("futimens", futimens(file, times) == 0 && fstat(file, &status) == 0);
    say("accessed", status.st_atim.tv_sec);
    say("changed", status.st_mtim.tv_sec);
    say("fallocate", posix_fallocate(file, 0, 4096));
    say("fadvise", posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL));
    say("synced", fsync(file) | fdatasync(file));
    say("end", lseek(file, 0, SEEK_END));
    say("back", lseek(file, -5, SEEK_CUR));
    say("before", lseek(file, -5, SEEK_SET));
    say("error", errno);
    say("terminal", isatty(file));
    expect("rename", rename("/data/second", "/data/third") == 0 && rename("/data/name", "/data/third") == 0);
    lseek(file, 0, SEEK_SET);
    struct iovec parts[2] = {{"NA", 2}, {"ME!", 3}};
    say("writev", writev(file, parts, 2));
    close(file);
    expect("utimensat", utimensat(AT_FDCWD, "/data/third", times, 0) == 0);
    file = open("/data/third", O_RDWR | O_NONBLOCK);
    say("nonblocking", (fcntl(file, F_GETFL) & O_NONBLOCK) != 0);
    expect("fcntl", fcntl(file, F_SETFL, 0) == 0);
    say("nonblocking", (fcntl(file, F_GETFL) & O_NONBLOCK) != 0);
    say_rest("third", file);
    close(file);
}

static void fails(const char *what, int result) { say(what, result < 0 ? errno : -1); }

// What goes wrong does so in the same way.
static void errors(void) {
    expect("symlink", symlink("loop", "/data/loop") == 0 && symlink("flags", "/data/link") == 0);
    fails("there is none", open("/data/none", O_RDONLY));
    fails("there is one", open("/data/flags", O_CREAT | O_EXCL | O_WRONLY, 0600));
    fails("no folder", open("/data/flags", O_RDONLY | O_DIRECTORY));
    fails("below a file", open("/data/flags/x", O_RDONLY));
    fails("a loop", open("/data/loop", O_RDONLY));
    fails("a link", open("/data/link", O_RDONLY | O_NOFOLLOW));
    fails("outside", open("/data/../x", O_RDONLY));
    fails("elsewhere", open("/none/x", O_RDONLY));
    fails("a folder", open("/data", O_WRONLY));
    fails("no folder to list", rmdir("/data/flags"));
    fails("a folder to unlink", unlink("/data"));
    fails("there already", mkdir("/data", 0700));
    fails("not open", close(77));
    char text[4];
    fails("not open", read(77, text, 4));
    fails("a folder to read", read(3, text, 4));
    fails("a stream", lseek(1, 0, SEEK_SET));
    expect("unlink", unlink("/data/loop") == 0 && unlink("/data/link") == 0);
}

// Time, chance, and what the program was given.
static void world(int count, char **arguments) {
    struct timespec before, after, wall;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int place = 1; place < count; place++) puts(arguments[place]);
    printf("%s\n", getenv("COLOR") ? getenv("COLOR") : "no color");
    usleep(1000);
    unsigned char some[16] = {0}, others[16] = {0};
    expect("random", getentropy(some, 16) == 0 && getentropy(others, 16) == 0 && memcmp(some, others, 16));
    clock_gettime(CLOCK_MONOTONIC, &after);
    clock_gettime(CLOCK_REALTIME, &wall);
    long long passed = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    say("time goes on", passed >= 1000000 && wall.tv_sec > 1700000000);
    struct pollfd output = {.fd = 1, .events = POLLOUT};
    say("poll", poll(&output, 1, 1000));
}

int main(int count, char **arguments) {
    positions();
    flags();
    numbers();
    folders();
    names();
    errors();
    world(count, arguments);
    exit(7);
}
