// Package notify is the way of seccomp user notifications: a filter that asks (Filter), the kernel's questions
// (Notification), what is answered (Answer), and the threads that do so until nobody is left to ask (Server).
//
// What is answered is its users' matter. A filter's tasks may be hostile: what they point to can change at any time, and
// their number may be another's by the time it is used. Listener.Valid tells.
//
// # Kernel
//
// Linux 5.9 (SECCOMP_IOCTL_NOTIF_ADDFD) is the least. From 5.19 on InstallFlags work, without which a signal may repeat
// a call that was already answered; from 6.6 on answers take half the time.
package notify
