package api

import "time"

// Broker is an Open Service Broker, without its password.
type Broker struct {
	Name      string     `json:"name"`
	URL       string     `json:"url"`
	Username  string     `json:"username,omitempty"`
	Created   time.Time  `json:"created"`
	By        string     `json:"by" doc:"Who added it"`
	Fetched   time.Time  `json:"fetched" doc:"When its catalog was fetched"`
	Offerings []Offering `json:"offerings" nullable:"false" doc:"What it offers"`
}

// Offering is a kind of service that a broker offers.
type Offering struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Tags        []string `json:"tags,omitempty"`
	Plans       []Plan   `json:"plans" nullable:"false"`
}

// Plan is a plan of an Offering.
type Plan struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Costs       bool   `json:"costs,omitempty" doc:"It is not free"`
	Bindable    bool   `json:"bindable" doc:"Apps can be bound to such services"`
	Updateable  bool   `json:"updateable" doc:"Such services can get another plan"`
}

// NewBroker is a broker to add.
type NewBroker struct {
	Name     string `json:"name" maxLength:"64"`
	URL      string `json:"url" maxLength:"1024"`
	Username string `json:"username,omitempty" maxLength:"256"`
	Password string `json:"password,omitempty" maxLength:"1024"`
}
