// Package userns makes an ordinary user root somewhere: it works out which ids the user may have, enters the namespaces
// in which those ids count, and tells what the machine offers and withholds.
//
// A program that links this package carries a C constructor that does nothing unless [EnterEnv]'s variable is in its
// environment. Then the program starts again as process 1 of its own user, mount and process namespaces:
//
//	m, err := userns.Detect()
//	cmd := exec.Command("/proc/self/exe", "keeper")
//	cmd.Env = append(os.Environ(), userns.EnterEnv(m))
package userns
