# A file capability, a private directory of uid 1000, a high uid; whiteouts and opaque directories that the kernel made.
setcap cap_net_raw+ep /usr/bin/ping
useradd -u 1000 -m app
useradd -u 65000 -M high
install -d -o app -g app -m 700 /srv/app
echo hello | install -o app -g app -m 600 /dev/stdin /srv/app/f
echo high | install -o high -g high -m 644 /dev/stdin /srv/high
rm -r /etc/debian_version /usr/share/bash-completion /etc/cron.daily /etc/skel
mkdir /etc/cron.daily /etc/skel
echo x >/etc/cron.daily/only-this
touch /etc/skel/.replaced
