/** seaf-backup-primary: the agent beside the live Seafile server. */

import { boundMemory } from '../shared/bound-memory.js'

boundMemory()
await import('./daemon.js')
