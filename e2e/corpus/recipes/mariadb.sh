# Laid out as the official image, whose entrypoint makes the database at the first start.
useradd --system --home-dir /nonexistent --shell /bin/false mysql
install -d -o mysql -g mysql -m 755 /var/lib/mysql /run/mysqld
printf '%s\n' "CREATE USER IF NOT EXISTS root@'%';" "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;" \
  >/etc/mysql/from-anywhere.sql
printf '%s\n' '[mariadbd]' 'bind-address = *' 'skip-name-resolve' 'init-file = /etc/mysql/from-anywhere.sql' \
  >/etc/mysql/conf.d/corpus.cnf
install -m 755 /recipes/mariadb-entrypoint /usr/local/bin/docker-entrypoint.sh
