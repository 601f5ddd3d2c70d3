package source

// plainFile is nothing here: os.Root opens no link that leads out of it, and folders have no FIFOs.
const plainFile = 0
