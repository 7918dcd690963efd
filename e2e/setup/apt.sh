# shellcheck shell=bash
# apt.sh - an apt apart from the machine's: it has Debian's main archive in one suite, from the mirror and by the network
# settings that the machine has, and none of the machine's other sources.

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# private_apt DIR SUITE ARCH... sets it up below DIR, which apt_get then uses. Nothing counts as installed.
private_apt() {
  local dir=$1 suite=$2 address
  shift 2
  mkdir -p "$dir"/{lists,archives}/partial
  address=$(mirror)
  echo "deb [signed-by=$keyring] $address $suite main" >"$dir/sources.list"
  apt-config dump | grep -E '^Acquire::(https?::|Check-)' >"$dir/network.conf" || true
  : >"$dir/status"
  apt_conf "$dir" "$@" >"$dir/apt.conf"
  private=$dir
  apt_get update
}

# apt_conf DIR ARCH... prints the configuration.
apt_conf() {
  local dir=$1
  shift
  cat "$dir/network.conf" - <<END
Dir::Etc { Main "/dev/null"; Parts "/dev/null"; SourceParts "/dev/null"; PreferencesParts "/dev/null"; };
Dir::Etc::SourceList "$dir/sources.list";
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
Dir::Log "$dir";
APT::Architecture "$1";
APT::Architectures { $(printf '"%s"; ' "$@")};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
APT::Update::Error-Mode "any";
Dpkg::Use-Pty "false";
END
}

apt_get() { APT_CONFIG=$private/apt.conf apt-get -q -y "$@"; }

# mirror prints the address of Debian's main archive, as the machine's apt knows it.
mirror() {
  local address
  address=$(archive)
  if [[ -z $address ]] && is_root; then # apt may have no lists yet
    apt-get -q update >&2
    address=$(archive)
  fi
  case $address in
    mirror+file:*) awk '/^[^#]/ { print $1; exit }' "${address#mirror+file:}" ;;
    *) echo "${address:-http://deb.debian.org/debian}" ;;
  esac
}

# shellcheck disable=SC2016 # apt expands it
archive() {
  apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | sed -n '1s|/$||p'
}
