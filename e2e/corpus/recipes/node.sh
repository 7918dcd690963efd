install -D -m 644 -t /srv /recipes/service.js
