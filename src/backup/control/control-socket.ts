/**
 * The Unix socket on which the daemon is commanded: whoever may open it is the administrator.
 *
 * It appears under its name with mode 0600 already on it: it is made in a
 * directory that is closed to others and then renamed. The umask is not touched
 * for it, because worker threads make directories under the same one. What a
 * killed daemon left behind is replaced; what a running one listens on is not.
 */

import { chmod, mkdir, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { BackupError, isAbort, reason, systemCode } from '../../shared/errors.js'
import type { Server } from 'node:http'

/** What fits into `sockaddr_un` on Linux, without its closing NUL. */
const SOCKET_PATH_BYTES_MAX = 107
/** Somebody who listens takes a local connection at once, however busy. */
const PROBE_MS_MAX = 2_000

/**
 * Disposal removes the socket; closing the server is the caller's.
 * @throws BackupError DIRECTORY_UNUSABLE, ALREADY_RUNNING
 */
export async function listenOnControlSocket(server: Server, path: string): Promise<AsyncDisposable> {
  const bytes = Buffer.byteLength(path)
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw new BackupError(
      'DIRECTORY_UNUSABLE',
      `listen on ${path}: a socket's path can have ${SOCKET_PATH_BYTES_MAX} bytes, not ${bytes}; ` +
        'give a state directory with a shorter path with --state DIR',
      { path },
    )
  }
  if (await answers(path)) {
    throw new BackupError('ALREADY_RUNNING', `listen on ${path}: another backup daemon answers there`, { path })
  }
  try {
    await listenPrivately(server, path)
  } catch (error) {
    throw new BackupError('DIRECTORY_UNUSABLE', `listen on ${path}: ${reason(error)}`, { path }, { cause: error })
  }
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) }
}

async function listenPrivately(server: Server, path: string): Promise<void> {
  const closedToOthers = join(dirname(path), '.c')
  await rm(closedToOthers, { recursive: true, force: true }) // of one who died in the middle of this
  await mkdir(closedToOthers, { mode: 0o700 })
  try {
    const temporary = join(closedToOthers, 's') // shorter than control.sock: it must fit as well
    server.listen(temporary)
    await once(server, 'listening')
    await chmod(temporary, 0o600)
    await rename(temporary, path)
  } catch (error) {
    server.close()
    throw error
  } finally {
    await rm(closedToOthers, { recursive: true, force: true })
  }
}

/** False: nobody is there, or only the socket of one who died. */
async function answers(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(PROBE_MS_MAX) })
    return true
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') return false
    if (code === 'EAGAIN' || isAbort(error)) return true // its queue is full: it is listening
    throw new BackupError('DIRECTORY_UNUSABLE', `look at ${path}: ${reason(error)}`, { path }, { cause: error })
  } finally {
    socket.destroy()
  }
}
