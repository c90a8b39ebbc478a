/**
 * Which files a program of Emscripten's has open, for the process in which it goes on once it was saved.
 *
 * A program knows its files by numbers, which are in its memory and so in a snapshot. Which file a number is, and where it
 * stands, its glue keeps in JavaScript, as `FS.streams`. `filesOf` writes that down by the files' names, in what JSON can
 * hold, and `openAgain` opens them. What files hold is not part of it: it has to be on the disk (NODEFS), or to be copied.
 */

// Flags of open() that would make a file anew, or empty it.
const MAKING = 64 | 128 | 512;

/**
 * Return which files are open, and the current folder. Throws for what ends with this process. It has to be called
 * together with `snapshot`, before anything of the program runs.
 */
export function filesOf(FS) {
  const open = FS.streams.filter(Boolean);
  const lost = open.find(({ node }) => FS.isSocket(node.mode) || FS.isFIFO(node.mode));
  if (lost) throw new Error(`file ${lost.fd}, ${lost.path}, is a pipe or a socket, which ends with this process`);
  const files = open.map(({ fd, path, flags, node, position, shared }) => {
    const like = open.find((other) => other.shared == shared).fd;
    return { fd, path, flags, like, ...(FS.isFile(node.mode) && { position }) };
  });
  return { folder: FS.cwd(), files };
}

/** Open these files instead of what is open, under their numbers and where they stood; descriptors that were duplicates are. */
export function openAgain(FS, { folder, files }) {
  for (const stream of FS.streams.filter(Boolean)) FS.close(stream);
  for (const { fd, path, flags, position, like } of files) {
    const stream = like == fd ? FS.open(path, flags & ~MAKING) : FS.getStream(like);
    if (stream.fd != fd) FS.dupStream(stream, fd);
    if (like != fd) continue;
    if (stream.fd != fd) FS.close(stream);
    if (position) FS.llseek(FS.getStream(fd), position, 0);
  }
  FS.chdir(folder);
}
