// Package doctor examines a node and the machine it runs on, and says what would mend what is wrong (micro doctor).
package doctor
