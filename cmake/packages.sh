# packages.sh: sourced by the scripts that a fresh Debian must be able to run.

# install_packages NAME...: installs those that are missing, and asks for nothing if none is.
install_packages() {
    local missing=() name as_root=
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed ||
            missing+=("$name")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing packages: ${missing[*]}; run this as root, or install them" >&2
            return 1
        fi
        as_root="sudo"
    fi
    echo "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if $as_root apt-get update -q >"$log" 2>&1 &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
            --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 20 "$log" >&2
    echo "could not install ${missing[*]}" >&2
    rm -f "$log"
    return 1
}
