/* Opens and closes libraries that use pools. Usage: host SCENARIO LIBRARY [LIBRARY]
 *
 * Code of a library that runs after its `dlclose` has unmapped it ends the process by a signal: the janitor's thread, the
 * thread-local destructors of threads that used the library, handlers of fork. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            exit(1); \
        } \
    } while (0)

struct library {
    void *handle;
    int (*use_pools)(uint32_t);
    int (*use_lasting)(void);
    void (*drop_pools)(void);
    uint64_t (*passes)(void);
};

static void *find(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    CHECK(found != NULL);
    return found;
}

static struct library open_library(const char *path) {
    struct library library = {dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (library.handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&library.use_pools = find(library.handle, "use_pools");
    *(void **)&library.use_lasting = find(library.handle, "use_lasting");
    *(void **)&library.drop_pools = find(library.handle, "drop_pools");
    *(void **)&library.passes = find(library.handle, "passes");
    return library;
}

static void close_library(struct library library) {
    CHECK(dlclose(library.handle) == 0);
}

/* How often a file of this name is mapped at its start. */
static int mappings(const char *path) {
    char line[4096];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    const char *name = strrchr(path, '/') + 1;
    while (fgets(line, sizeof line, maps))
        count += strstr(line, name) != NULL && strstr(line, " 00000000 ") != NULL;
    fclose(maps);
    return count;
}

static int threads(void) {
    char line[256];
    int count = 0;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status))
        sscanf(line, "Threads: %d", &count);
    fclose(status);
    return count;
}

static void rest(int milliseconds) { usleep(1000 * milliseconds); }

/* ---------------------------------------------------------------- threads that start late */

/* A busy machine may run a new thread long after it was made. The library binds to this function. */
static atomic_int delay;

struct start {
    void *(*run)(void *);
    void *argument;
};

static void *start_late(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    rest(delay);
    return start.run(start.argument);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    if (delay == 0)
        return create(thread, attributes, run, argument);
    struct start *start = malloc(sizeof *start);
    *start = (struct start){run, argument};
    int failed = create(thread, attributes, start_late, start);
    if (failed)
        free(start);
    return failed;
}

/* ---------------------------------------------------------------- users */

struct user {
    struct library library;
    pthread_barrier_t *used, *closed;
};

static void *use_once(void *argument) {
    struct user *user = argument;
    CHECK(user->library.use_pools(2000) == 0);
    CHECK(user->library.use_lasting() == 0);
    if (user->used != NULL) {
        pthread_barrier_wait(user->used);
        pthread_barrier_wait(user->closed);
    }
    return NULL;
}

enum { USERS = 4 };

static void start_users(struct user *user, pthread_t *all) {
    for (int i = 0; i < USERS; i++)
        CHECK(pthread_create(&all[i], NULL, use_once, user) == 0);
}

static void join_users(pthread_t *all) {
    for (int i = 0; i < USERS; i++)
        CHECK(pthread_join(all[i], NULL) == 0);
}

/* The handlers of fork run. */
static void fork_once(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status;
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(status == 0);
}

/* ---------------------------------------------------------------- scenarios */

/* The thread that closes it has used it, and the janitor runs. */
static void used_by_main(const char *path) {
    struct library library = open_library(path);
    CHECK(library.use_pools(2000) == 0);
    rest(30);
    CHECK(library.passes() > 0);
    close_library(library);
    rest(100);
    fork_once();
}

/* Threads that have ended have used it, and the janitor runs. */
static void used_by_threads(const char *path) {
    pthread_t all[USERS];
    struct user user = {open_library(path)};
    start_users(&user, all);
    join_users(all);
    close_library(user.library);
    rest(100);
    fork_once();
}

/* Threads that have used it end after it was closed. */
static void threads_end_later(const char *path) {
    pthread_t all[USERS];
    pthread_barrier_t used, closed;
    pthread_barrier_init(&used, NULL, USERS + 1);
    pthread_barrier_init(&closed, NULL, USERS + 1);
    struct user user = {open_library(path), &used, &closed};
    start_users(&user, all);
    pthread_barrier_wait(&used);
    close_library(user.library);
    rest(50);
    fork_once();
    pthread_barrier_wait(&closed);
    join_users(all);
    rest(100);
    fork_once();
}

/* It is closed between the start of the janitor and its first instruction. */
static void janitor_starts_later(const char *path) {
    pthread_t all[USERS];
    struct user user = {open_library(path)};
    delay = 300; /* the users are late as well, and gone when the janitor begins */
    start_users(&user, all);
    join_users(all);
    close_library(user.library);
    rest(600);
    fork_once();
}

static void *use_and_drop(void *argument) {
    struct user *user = argument;
    CHECK(user->library.use_pools(200) == 0);
    user->library.drop_pools();
    return NULL;
}

/* The pools are dropped first, and the janitor ends; over and over. */
static void pools_are_dropped_first(const char *path) {
    int stays = 0;
    for (int round = 0; round < 30; round++) {
        pthread_t thread;
        struct user user = {open_library(path)};
        CHECK(pthread_create(&thread, NULL, use_and_drop, &user) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        for (int wait = 0; threads() > 1 && wait < 500; wait++)
            rest(10);
        CHECK(threads() == 1);
        close_library(user.library);
        CHECK(mappings(path) <= 1);
        stays += mappings(path);
        fork_once();
    }
    printf("  mapped after %d of 30\n", stays);
}

/* It is closed while its pools are in statics, and opened again. */
static void opened_again(const char *path) {
    for (int round = 0; round < 30; round++) {
        pthread_t all[USERS];
        struct user user = {open_library(path)};
        start_users(&user, all);
        join_users(all);
        close_library(user.library);
    }
    rest(50);
    printf("  %d threads, mapped %d times\n", threads(), mappings(path));
    CHECK(threads() <= 2);
    CHECK(mappings(path) <= 1);
}

/* Two libraries, each with the crate in it, used by the same threads. */
static void two_libraries(const char *path, const char *other) {
    struct library one = open_library(path), two = open_library(other);
    for (int round = 0; round < 20; round++) {
        pthread_t first[USERS], second[USERS];
        struct user user_of_one = {one}, user_of_two = {two};
        start_users(&user_of_one, first);
        start_users(&user_of_two, second);
        CHECK(one.use_pools(100) == 0 && two.use_pools(100) == 0);
        join_users(first);
        join_users(second);
        fork_once();
    }
    rest(50);
    CHECK(one.passes() > 0 && two.passes() > 0);
    CHECK(threads() == 3); /* two janitors */
    close_library(one);
    rest(20);
    CHECK(two.use_pools(100) == 0);
    close_library(two);
    rest(100);
    fork_once();
}

/* The process ends while threads are inside, and the janitor runs. */
static void *use_for_ever(void *argument) {
    struct user *user = argument;
    for (;;)
        CHECK(user->library.use_pools(100) == 0);
}

static void process_ends(const char *path) {
    static struct user user;
    pthread_t thread;
    user.library = open_library(path);
    for (int i = 0; i < USERS; i++)
        CHECK(pthread_create(&thread, NULL, use_for_ever, &user) == 0);
    rest(30);
    /* `exit` runs the destructors of libraries. */
}

int main(int count, char **arguments) {
    CHECK(count >= 3);
    const char *scenario = arguments[1], *path = arguments[2];
#define SCENARIO(name, ...) \
    if (strcmp(scenario, #name) == 0) { \
        name(__VA_ARGS__); \
        return 0; \
    }
    SCENARIO(used_by_main, path)
    SCENARIO(used_by_threads, path)
    SCENARIO(threads_end_later, path)
    SCENARIO(janitor_starts_later, path)
    SCENARIO(pools_are_dropped_first, path)
    SCENARIO(opened_again, path)
    SCENARIO(two_libraries, path, arguments[3])
    SCENARIO(process_ends, path)
    fprintf(stderr, "no scenario %s\n", scenario);
    return 1;
}
