# Logs to the standard streams, and serves /1k and /1m.
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
sed -i 's/access_log .*/access_log off;/' /etc/nginx/nginx.conf
head -c 1KiB /dev/zero | tr '\0' a >/var/www/html/1k
head -c 1MiB /dev/zero | tr '\0' a >/var/www/html/1m
