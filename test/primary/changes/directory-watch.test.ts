/** The kernel's events of one directory, whatever happens to the directory. */

import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { DirectoryWatch } from '../../../src/primary/changes/directory-watch.js'
import { temporaryDirectory } from './changes-support.js'

class Heard {
  readonly names: (string | null)[] = []
  readonly lost: string[] = []
  found = 0
  readonly listener = {
    changed: (name: string | null) => void this.names.push(name),
    lost: (why: string) => void this.lost.push(why),
    found: () => void (this.found += 1),
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await delay(5)
  }
}

t.test('directory watch: a file that is written, renamed or removed is named', async t => {
  await using room = await temporaryDirectory()
  const heard = new Heard()
  using _watch = new DirectoryWatch(room.path, heard.listener)
  await writeFile(join(room.path, 'a.db'), 'x')
  await heard.until(() => heard.names.includes('a.db'))
  await rename(join(room.path, 'a.db'), join(room.path, 'b.db'))
  await heard.until(() => heard.names.includes('b.db'))
  const before = heard.names.length
  await rm(join(room.path, 'b.db'))
  await heard.until(() => heard.names.length > before)

  t.equal(heard.names.at(-1), 'b.db')
  t.strictSame(heard.lost, [])
})

t.test('directory watch: another directory under the same name is watched in its place', async t => {
  await using room = await temporaryDirectory()
  const directory = join(room.path, 'data')
  await mkdir(directory)
  const heard = new Heard()
  using _watch = new DirectoryWatch(directory, heard.listener, 10)
  await rename(directory, join(room.path, 'old'))
  await mkdir(directory)
  await heard.until(() => heard.found > 0)

  await writeFile(join(directory, 'new.db'), 'x')
  await heard.until(() => heard.names.includes('new.db'))
  t.equal(heard.found, 1)
})

t.test('directory watch: a directory that is gone is said to be lost, and found when it is back', async t => {
  await using room = await temporaryDirectory()
  const directory = join(room.path, 'data')
  const heard = new Heard()
  using _watch = new DirectoryWatch(directory, heard.listener, 10)
  t.match(heard.lost, [/ENOENT/], 'also when it was never there')

  await mkdir(directory)
  await heard.until(() => heard.found > 0)
  await rm(directory, { recursive: true })
  const before = heard.lost.length
  await heard.until(() => heard.lost.length > before)
  await mkdir(directory)
  await heard.until(() => heard.found > 1)

  await writeFile(join(directory, 'new.db'), 'x')
  await heard.until(() => heard.names.includes('new.db'))
  t.pass('events come again')
})
