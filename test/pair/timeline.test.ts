/** A real server's own history, followed step by step. */

import { timelineTests } from '../support/follow-timeline.js'

timelineTests([
  { title: 'one after another', engine: 'sqlite', stride: 1, kill: false },
  { title: 'one after another, into MariaDB', engine: 'mysql', stride: 1, kill: false },
])
