package cloud

// BackupSchedule is when a service is backed up, and how many backups are kept.
type BackupSchedule struct {
	Every Duration `json:"every"` // an hour at least
	Keep  int      `json:"keep"`  // 1 to 1000
}
