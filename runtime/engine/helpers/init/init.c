// Process 1 of a container: it starts the app, forwards signals to it, reaps the processes that the app left
// behind, and ends with the app's exit code (128+N where signal N ended the app).
//
// Without it the app itself is process 1. Then orphans become its children, few apps wait for them, and their
// entries fill the container's limit on processes. The kernel also keeps signals without a handler from process
// 1, so that SIGTERM would not end a program that does nothing about it.
//
// It stands on nothing, no libc either: the file is 3 KB, and a container's image may be empty but for the app.
// The kernel's own headers give the numbers of system calls. Usage: init PROGRAM ARG...

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>

typedef unsigned long ulong;

#if defined(__x86_64__)
__asm__(".globl _start\n"
	"_start:\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call begin\n");

static long call(long n, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;

	__asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
		: "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n"
	"_start:\n"
	"	mov x0, sp\n"
	"	bl begin\n");

static long call(long n, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
#else
#error "no system calls for this machine"
#endif

// From signal(7), ioctl_tty(2) and wait(2); the kernel's headers for these clash with its own types.
enum {
	SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11, SIGCHLD = 17, SIGCONT = 18, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22,
	SIGSYS = 31,
	SIG_BLOCK = 0, SIG_SETMASK = 2,
	TIOCSPGRP = 0x5410,
	WNOHANG = 1, WUNTRACED = 2,
};

static ulong bit(int signal) { return 1UL << (signal - 1); }

static long length(const char *s)
{
	long n = 0;

	while (s[n])
		n++;
	return n;
}

static void say(const char *s) { call(__NR_write, 2, (long)s, length(s), 0, 0); }

static void leave(int code)
{
	for (;;)
		call(__NR_exit_group, code, 0, 0, 0, 0);
}

static const char *why(long error)
{
	switch (error) {
	case -ENOENT:
		return "not found, or the interpreter that it names is not in the image\n";
	case -EACCES:
		return "permission denied\n";
	case -ENOEXEC:
		return "this machine can't execute it: is the image built for another kind of processor, or does a script lack its #! line?\n";
	case -E2BIG:
		return "its arguments and environment are too large\n";
	case -ENOMEM:
		return "not enough memory\n";
	}
	return "the kernel refuses it\n";
}

// run executes the program that argv names, which is looked for in PATH unless its name has a slash. It returns
// where that fails, with the error that tells most.
static long run(char **argv, char **env)
{
	const char *name = argv[0], *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	long error = -ENOENT;

	for (long i = 0; name[i]; i++)
		if (name[i] == '/')
			return call(__NR_execve, (long)name, (long)argv, (long)env, 0, 0);
	for (char **e = env; *e; e++)
		if ((*e)[0] == 'P' && (*e)[1] == 'A' && (*e)[2] == 'T' && (*e)[3] == 'H' && (*e)[4] == '=')
			path = *e + 5;
	while (name[0]) {
		char file[4096];
		long n = 0, m = length(name), result;

		for (; *path && *path != ':'; path++)
			if (n < (long)sizeof(file))
				file[n++] = *path;
		if (n == 0)
			file[n++] = '.';
		if (n + m + 2 <= (long)sizeof(file)) {
			file[n++] = '/';
			for (long i = 0; i <= m; i++)
				file[n++] = name[i];
			result = call(__NR_execve, (long)file, (long)argv, (long)env, 0, 0);
			// Nothing in this folder, as exec(3) has it: look in the next one.
			if (result == -EACCES)
				error = result;
			else if (result != -ENOENT && result != -ENOTDIR)
				return result;
		}
		if (!*path++)
			break;
	}
	return error;
}

// begin gets what the kernel leaves on the stack: the number of arguments, the arguments, a zero, the environment.
__attribute__((used)) void begin(long *stack)
{
	char **argv = (char **)(stack + 1), **env = argv + stack[0] + 1;
	// The kernel sends the others for faults of this program: to block those would loop.
	ulong all = ~(bit(SIGILL) | bit(SIGTRAP) | bit(SIGABRT) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGSEGV) | bit(SIGSYS)), before = 0;
	long app;

	if (stack[0] < 2) {
		say("usage: init PROGRAM ARG...\n");
		leave(2);
	}
	call(__NR_rt_sigprocmask, SIG_BLOCK, (long)&all, (long)&before, sizeof(all), 0);
	app = call(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (app == 0) {
		long error;
		int group = (int)call(__NR_getpid, 0, 0, 0, 0, 0);

		// A group of its own, in front of the terminal where there is one: ^C is for the app, once.
		call(__NR_setpgid, 0, 0, 0, 0, 0);
		call(__NR_ioctl, 0, TIOCSPGRP, (long)&group, 0, 0);
		call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof(before), 0);
		error = run(argv + 1, env);
		say("micro: ");
		say(argv[1]);
		say(": ");
		say(why(error));
		leave(error == -ENOENT ? 127 : 126);
	}
	if (app < 0) {
		say("micro: no process can be started: ");
		say(why(app));
		leave(126);
	}
	for (;;) {
		long signal = call(__NR_rt_sigtimedwait, (long)&all, 0, 0, sizeof(all), 0);

		if (signal == SIGCHLD) {
			int status = 0, end = -1;
			long pid;

			while ((pid = call(__NR_wait4, -1, (long)&status, WNOHANG | WUNTRACED, 0, 0)) > 0) {
				if (pid != app)
					continue;
				if ((status & 0xff) != 0x7f)
					end = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
				else if (status >> 8 == SIGTSTP) // ^Z: no shell is there to continue it by
					call(__NR_kill, -app, SIGCONT, 0, 0, 0);
			}
			if (end >= 0)
				leave(end);
		} else if (signal > 0 && signal != SIGTTIN && signal != SIGTTOU) {
			call(__NR_kill, app, signal, 0, 0, 0);
		}
	}
}
