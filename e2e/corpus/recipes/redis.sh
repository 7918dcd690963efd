# Starts as root, and steps down.
install -d -o redis -g redis /data
install -m 755 /recipes/redis-entrypoint /usr/local/bin/docker-entrypoint.sh
