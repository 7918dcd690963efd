# One node, whose name does not depend on the container's; logs to the standard output; guest may come from anywhere.
echo NODENAME=rabbit@localhost >/etc/rabbitmq/rabbitmq-env.conf
printf '%s\n' 'loopback_users = none' 'log.file = false' 'log.console = true' >/etc/rabbitmq/rabbitmq.conf
