/** seaf-backup-server: the daemon on the backup host. */

import { boundMemory } from '../shared/bound-memory.js'

boundMemory()
await import('./daemon.js')
