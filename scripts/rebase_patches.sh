#!/usr/bin/env bash
# Moves ggml-patches to another llama.cpp and says, by file and place, what does not fit there.
#
#   scripts/rebase_patches.sh ~/llama.cpp                       a folder with a llama.cpp tree, or with one somewhere below
#   scripts/rebase_patches.sh llama-cpp-python==0.3.37          a source package with a llama.cpp tree; the form of BASE
#   scripts/rebase_patches.sh newest                            the newest version of the package in BASE
#   scripts/rebase_patches.sh export                            the commits of the repository below, as patches
#
# The work is done in a repository of its own, target/rebase: branch `base` is the pinned tree, `new` the other one, and
# `ours` has one commit for each patch. A three-way merge moves every commit from `base` to `new`. If all fit, the moved
# patches are in target/rebase-patches. If some do not, the script lists the conflicts, leaves them in target/rebase with the
# usual marks and ends with code 1: resolve them, `git add` the files, `git rebase --continue`, then run with `export`.
#
# To change a hunk for the pinned tree itself: scripts/rebase_patches.sh BASE; edit and amend in target/rebase; `export`.
source "$(dirname "$0")/setup.sh"
need git 'the patches are merged with git'
[ $# = 1 ] || die "say which llama.cpp: a folder, a requirement such as llama-cpp-python==0.3.37, newest, or export"
PATCHES=$ROOT/ggml-patches
repository=${REBASE_FOLDER:-$TARGET/rebase}
moved=$repository-patches
in_repository() {
    git -C "$repository" -c user.name=tenpak -c user.email=tenpak@localhost -c core.autocrlf=false -c advice.mergeConflict=false "$@"
}

# The files of a tree become the next commit of the branch that is checked out.
commit_tree() { # FOLDER MESSAGE
    find "$repository" -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} +
    (cd "$1" && tar cf - --exclude=.git --exclude='./build*' .) | tar xf - -C "$repository"
    in_repository add --all --force
    in_repository commit --quiet --allow-empty --message "$2"
}

# One patch for each commit of `ours` above `new`, named by the commit's message.
export_patches() {
    in_repository rev-parse --quiet --verify new >/dev/null || die "$repository has no branch new: run this script with a llama.cpp first"
    [ ! -d "$repository/.git/rebase-merge" ] || die "$repository is in the middle of a rebase: git rebase --continue first"
    rm -rf "$moved"
    local commit name
    for commit in $(in_repository rev-list --reverse new..ours); do
        name=$(in_repository log -1 --format=%s "$commit")
        mkdir -p "$moved/$(dirname "$name")"
        in_repository show --format= --no-color --abbrev=7 "$commit" >"$moved/$name"
    done
    say "the patches are in $moved; to take them: cp -r $moved/. $PATCHES/, and write the new pin into $PATCHES/BASE"
}

# The folder of the llama.cpp tree that is nearest to the top of a folder.
find_tree() {
    local header
    header=$(find "$1" -path '*/ggml/include/ggml.h' -printf '%d %p\n' | sort -n | head -n 1 | cut -d' ' -f2-)
    [ -n "$header" ] || die "$1 holds no ggml/include/ggml.h"
    echo "${header%/ggml/include/ggml.h}"
}

# The tree of a source package, unpacked into target/.
package_tree() { # REQUIREMENT
    local folder=$repository-package archive
    rm -rf "$folder"
    mkdir -p "$folder"
    "$TOOLS/build/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation \
        -d "$folder" "$1" >&2 || die "$1 cannot be downloaded"
    archive=$(find "$folder" -name '*.tar.gz')
    tar xzf "$archive" -C "$folder"
    echo "$(basename "$archive"), sha256 $(sha256sum <"$archive" | cut -d' ' -f1)" >&2
    find_tree "$folder"
}

if [ "$1" = export ]; then
    export_patches
    exit
fi
install_build_tools
pinned=$(sed -n 's/^package=//p' "$PATCHES/BASE")
[ ! -d "$repository/.git/rebase-merge" ] || die "$repository is in the middle of a rebase: finish it, or delete the folder"
rm -rf "$repository-base"
unpack_llama "$repository-base" >/dev/null
if [ -d "$1" ]; then
    new=$(find_tree "$1")
elif [ "$1" = BASE ]; then
    new=$repository-base
elif [ "$1" = newest ]; then
    new=$(package_tree "${pinned%%==*}")
else
    new=$(package_tree "$1")
fi

say "the series on $pinned"
rm -rf "$repository"
git init --quiet --initial-branch base "$repository"
commit_tree "$repository-base" "$pinned"
in_repository checkout --quiet -b ours
names=$(cd "$PATCHES" && ls ./*.patch tests/*.patch | sed 's,^\./,,')
for name in $names; do
    in_repository apply --index --whitespace=nowarn "$PATCHES/$name" || die "$name does not apply to $pinned"
    in_repository commit --quiet --message "$name"
done
in_repository checkout --quiet -b new base
commit_tree "$new" "$1"
echo "$(in_repository diff --shortstat base new) between the two trees"

# First every patch by itself, so that the list is complete; a conflict is committed as it is and the next patch tried.
say "the series on $1"
in_repository checkout --quiet --detach new
failed=0
for commit in $(in_repository rev-list --reverse base..ours); do
    name=$(in_repository log -1 --format=%s "$commit")
    if in_repository cherry-pick --allow-empty "$commit" >/dev/null 2>&1; then
        echo "$name: fits"
        continue
    fi
    failed=1
    echo "$name: does not fit"
    in_repository diff --name-only --diff-filter=U | while read -r file; do
        if grep -q '^<<<<<<<' "$repository/$file" 2>/dev/null; then
            # The last line before the marks that is not blank tells the place; the lines after ======= are ours.
            awk -v file="$file" '
                /^<<<<<<</ { printf "    %s:%d: after `%s`\n", file, NR, before; marks = 1 }
                marks && /^=======/ { ours = 1; next }
                /^>>>>>>>/ { marks = ours = 0; next }
                ours { print "        ours: " $0 }
                !marks && NF { before = $0 }' "$repository/$file"
        else
            echo "    $file: is not there any more"
        fi
    done
    in_repository add --all --force
    in_repository commit --quiet --allow-empty --message "$name" --cleanup=verbatim
done
in_repository checkout --quiet ours
if [ $failed = 0 ]; then
    in_repository rebase --quiet --empty=keep --onto new base ours
    export_patches
    exit
fi
in_repository rebase --quiet --empty=keep --onto new base ours >/dev/null 2>&1 || true
die "resolve the conflicts in $repository (git add FILES, git rebase --continue), then: scripts/rebase_patches.sh export"
