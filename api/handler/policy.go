package handler

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// area is what an operation's permission is asked for.
type area string

// The areas. In all but the first two what belongs to a group that the caller has no role in is not there (404).
const (
	byAnyone  area = "anyone"   // who has not logged in, too
	anywhere  area = "anywhere" // who has a role somewhere; the answer has what the caller may see
	inCloud   area = "cloud"    // the cloud as a whole
	inGroup   area = "group"    // a group
	inApp     area = "app"      // an app; changing what the public reaches needs a releaser
	inRelease area = "release"  // a release; staged ones are for testers too
	inHost    area = "host"     // a host; what leads the public is for a releaser
	ofPush    area = "push"     // a push by its ID, and so its app
	ofOwn     area = "own"      // what is the caller's own; of others only what the permission allows
)

// rule is what an operation asks of its caller.
type rule struct {
	needs cloud.Permission
	in    area
	// early operations are answered before the node is ready.
	early bool
	// read is how long the request's body may take; 0: bodyTimeout.
	read time.Duration
}

const (
	// bodyTimeout is how long a body of JSON may take.
	bodyTimeout = 10 * time.Second
)

// policy has every operation of the API. New fails for one that is missing here, and for one too many.
// docs/access.md shows it.
var policy = map[string]rule{
	"version":        {needs: cloud.MayRead, in: anywhere, early: true},
	"openapi":        {needs: cloud.MayRead, in: anywhere, early: true},
	"node":           {needs: cloud.MayRead, in: anywhere, early: true},
	"doctor":         {needs: cloud.MayRead, in: inCloud, early: true},
	"profile":        {needs: cloud.MayRead, in: inCloud},
	"disk":           {needs: cloud.MayRead, in: inCloud},
	"metrics":        {needs: cloud.MayRead, in: inCloud},
	"authority":      {needs: cloud.MayRead, in: anywhere},
	"certificates":   {needs: cloud.MayRead, in: inGroup},
	"webhooks":       {needs: cloud.MayRead, in: inGroup},
	"add-webhook":    {needs: cloud.MayAdminister, in: inGroup},
	"remove-webhook": {needs: cloud.MayAdminister, in: inGroup},
	"test-webhook":   {needs: cloud.MayAdminister, in: inGroup},
	"domains":        {needs: cloud.MayRead, in: inGroup},
	"check-domain":   {needs: cloud.MayRead, in: inGroup},
	"add-domain":     {needs: cloud.MayExpose, in: inGroup},
	"remove-domain":  {needs: cloud.MayExpose, in: inGroup},
	"explain":        {needs: cloud.MayRead, in: anywhere},
	"events":         {needs: cloud.MayRead, in: anywhere},
	"prune":          {needs: cloud.MayAdminister, in: inCloud},
	"down":           {needs: cloud.MayAdminister, in: inCloud},

	"cluster":           {needs: cloud.MayRead, in: inCloud},
	"start-cluster":     {needs: cloud.MayAdminister, in: inCloud},
	"create-join-token": {needs: cloud.MayAdminister, in: inCloud},
	"recover-cluster":   {needs: cloud.MayAdminister, in: inCloud},
	"drain-node":        {needs: cloud.MayAdminister, in: inCloud},
	"undrain-node":      {needs: cloud.MayAdminister, in: inCloud},
	"remove-node":       {needs: cloud.MayAdminister, in: inCloud},
	"label-node":        {needs: cloud.MayAdminister, in: inCloud},
	"upgrade-node":      {needs: cloud.MayAdminister, in: inCloud},

	"images":            {needs: cloud.MayRead, in: anywhere},
	"load-image":        {needs: cloud.MayAdminister, in: inCloud, read: uploadTimeout},
	"remove-image-name": {needs: cloud.MayAdminister, in: inCloud},

	"apps":           {needs: cloud.MayRead, in: inGroup},
	"instances":      {needs: cloud.MayRead, in: inGroup},
	"figures":        {needs: cloud.MayRead, in: inGroup},
	"routes":         {needs: cloud.MayRead, in: inGroup},
	"pushes":         {needs: cloud.MayRead, in: inGroup},
	"app":            {needs: cloud.MayRead, in: inApp},
	"releases":       {needs: cloud.MayRead, in: inApp},
	"release":        {needs: cloud.MayRead, in: inApp},
	"diff":           {needs: cloud.MayRead, in: inApp},
	"wait":           {needs: cloud.MayRead, in: inApp},
	"logs":           {needs: cloud.MayOperate, in: inRelease},
	"env":            {needs: cloud.MayReadSecret, in: inApp},
	"secret":         {needs: cloud.MayReadSecret, in: inApp},
	"create-app":     {needs: cloud.MayDeploy, in: inApp},
	"set-env":        {needs: cloud.MayDeploy, in: inRelease},
	"promote":        {needs: cloud.MayDeploy, in: inApp},
	"rollback":       {needs: cloud.MayDeploy, in: inApp},
	"scale":          {needs: cloud.MayOperate, in: inRelease},
	"restart":        {needs: cloud.MayOperate, in: inRelease},
	"stop":           {needs: cloud.MayDeploy, in: inRelease},
	"start":          {needs: cloud.MayDeploy, in: inRelease},
	"delete-app":     {needs: cloud.MayDeploy, in: inApp},
	"delete-release": {needs: cloud.MayDeploy, in: inRelease},

	"exec": {needs: cloud.MayOperate, in: inRelease},
	"run":  {needs: cloud.MayOperate, in: inRelease},

	"map":     {needs: cloud.MayRoute, in: inHost},
	"unmap":   {needs: cloud.MayRoute, in: inHost},
	"traffic": {needs: cloud.MayRoute, in: inHost},
	"swap":    {needs: cloud.MayRoute, in: inHost},

	"hold":     {needs: cloud.MayRoute, in: inHost},
	"end-hold": {needs: cloud.MayRoute, in: inHost},

	"limits":           {needs: cloud.MayRoute, in: inHost},
	"route-limits":     {needs: cloud.MayRead, in: inHost},
	"cloud-limits":     {needs: cloud.MayRead, in: inCloud},
	"set-cloud-limits": {needs: cloud.MayAdminister, in: inCloud},

	"crossfade":        {needs: cloud.MayRoute, in: inHost},
	"crossfade-pause":  {needs: cloud.MayRoute, in: inHost},
	"crossfade-resume": {needs: cloud.MayRoute, in: inHost},
	"crossfade-abort":  {needs: cloud.MayRoute, in: inHost},
	"pass":             {needs: cloud.MayExpose, in: inHost},
	"share":            {needs: cloud.MayExpose, in: inRelease},
	"unshare":          {needs: cloud.MayExpose, in: inRelease},
	"links":            {needs: cloud.MayRead, in: inGroup},
	"compare":          {needs: cloud.MayRead, in: inHost},
	"fades":            {needs: cloud.MayRead, in: inGroup},

	"push":        {needs: cloud.MayDeploy, in: inApp},
	"blobs":       {needs: cloud.MayReadSecret, in: inApp},
	"shipment":    {needs: cloud.MayReadSecret, in: inApp},
	"archive":     {needs: cloud.MayReadSecret, in: inApp},
	"list-files":  {needs: cloud.MayDeploy, in: ofPush, read: uploadTimeout},
	"upload":      {needs: cloud.MayDeploy, in: ofPush, read: uploadTimeout},
	"show-push":   {needs: cloud.MayDeploy, in: ofPush},
	"push-events": {needs: cloud.MayDeploy, in: ofPush},
	"cancel-push": {needs: cloud.MayDeploy, in: ofPush},

	"services":         {needs: cloud.MayRead, in: inGroup},
	"service":          {needs: cloud.MayRead, in: inApp},
	"create-service":   {needs: cloud.MayDeploy, in: inApp},
	"delete-service":   {needs: cloud.MayDeploy, in: inApp},
	"undelete-service": {needs: cloud.MayDeploy, in: inApp},

	"brokers":        {needs: cloud.MayRead, in: anywhere},
	"broker":         {needs: cloud.MayRead, in: anywhere},
	"add-broker":     {needs: cloud.MayAdminister, in: inCloud},
	"refresh-broker": {needs: cloud.MayAdminister, in: inCloud},
	"remove-broker":  {needs: cloud.MayAdminister, in: inCloud},
	"update-service": {needs: cloud.MayDeploy, in: inApp},

	"backups":             {needs: cloud.MayRead, in: inApp},
	"backup-service":      {needs: cloud.MayDeploy, in: inApp},
	"restore-service":     {needs: cloud.MayDeploy, in: inApp},
	"clone-service":       {needs: cloud.MayDeploy, in: inApp},
	"drill-service":       {needs: cloud.MayDeploy, in: inApp},
	"delete-backup":       {needs: cloud.MayDeploy, in: inApp},
	"upgrade-service":     {needs: cloud.MayDeploy, in: inApp},
	"key":                 {needs: cloud.MayRead, in: inCloud},
	"rotate-key":          {needs: cloud.MayAdminister, in: inCloud},
	"backup-places":       {needs: cloud.MayRead, in: anywhere},
	"add-backup-place":    {needs: cloud.MayAdminister, in: inCloud},
	"remove-backup-place": {needs: cloud.MayAdminister, in: inCloud},
	"schedule-backups":    {needs: cloud.MayDeploy, in: inApp},
	"end-schedule":        {needs: cloud.MayDeploy, in: inApp},

	"volumes":              {needs: cloud.MayRead, in: inGroup},
	"volume-backups":       {needs: cloud.MayRead, in: inApp},
	"backup-volume":        {needs: cloud.MayDeploy, in: inApp},
	"restore-volume":       {needs: cloud.MayDeploy, in: inApp},
	"delete-volume-backup": {needs: cloud.MayDeploy, in: inApp},
	"move-volumes":         {needs: cloud.MayDeploy, in: inApp},

	"bindings": {needs: cloud.MayRead, in: inApp},
	"bind":     {needs: cloud.MayDeploy, in: inRelease},
	"unbind":   {needs: cloud.MayDeploy, in: inRelease},
	"rebind":   {needs: cloud.MayDeploy, in: inRelease},
	"rotate":   {needs: cloud.MayDeploy, in: inRelease},

	"service-kinds":     {needs: cloud.MayRead, in: anywhere},
	"add-service-kind":  {needs: cloud.MayAdminister, in: inCloud},
	"set-service-image": {needs: cloud.MayAdminister, in: inCloud},

	"groups":       {needs: cloud.MayRead, in: anywhere},
	"create-group": {needs: cloud.MayAdminister, in: inCloud},
	"delete-group": {needs: cloud.MayAdminister, in: inCloud},
	"egress":       {needs: cloud.MayRead, in: inApp},
	"set-egress":   {needs: cloud.MayAdminister, in: inApp},
	"quota":        {needs: cloud.MayRead, in: inGroup},
	"set-quota":    {needs: cloud.MayAdminister, in: inCloud},

	"users":        {needs: cloud.MayAdminister, in: inCloud},
	"create-user":  {needs: cloud.MayAdminister, in: inCloud},
	"delete-user":  {needs: cloud.MayAdminister, in: inCloud},
	"disable-user": {needs: cloud.MayAdminister, in: inCloud},
	"set-password": {needs: cloud.MayAdminister, in: ofOwn},
	"roles":        {needs: cloud.MayRead, in: ofOwn},
	"grant-role":   {needs: cloud.MayAdminister, in: inGroup},
	"revoke-role":  {needs: cloud.MayAdminister, in: inGroup},

	"grant-role-cloud":     {needs: cloud.MayAdminister, in: inCloud},
	"revoke-role-cloud":    {needs: cloud.MayAdminister, in: inCloud},
	"timeline":             {needs: cloud.MayRead, in: inApp},
	"reviews":              {needs: cloud.MayRead, in: inApp},
	"review":               {needs: cloud.MayOperate, in: inRelease},
	"lock":                 {needs: cloud.MayDeploy, in: inApp},
	"unlock":               {needs: cloud.MayDeploy, in: inApp},
	"require-approval":     {needs: cloud.MayAdminister, in: inGroup},
	"audit":                {needs: cloud.MayRead, in: inCloud},
	"verify-audit":         {needs: cloud.MayRead, in: inCloud},
	"login":                {needs: cloud.MayRead, in: byAnyone},
	"login-browser":        {needs: cloud.MayRead, in: byAnyone},
	"login-browser-finish": {needs: cloud.MayRead, in: byAnyone},
	"login-device":         {needs: cloud.MayRead, in: byAnyone},
	"login-device-finish":  {needs: cloud.MayRead, in: byAnyone},
	"oidc":                 {needs: cloud.MayAdminister, in: inCloud},
	"set-oidc":             {needs: cloud.MayAdminister, in: inCloud},
	"delete-oidc":          {needs: cloud.MayAdminister, in: inCloud},
	"logout":               {needs: cloud.MayRead, in: ofOwn},
	"tokens":               {needs: cloud.MayAdminister, in: ofOwn},
	"create-token":         {needs: cloud.MayAdminister, in: ofOwn},
	"revoke-token":         {needs: cloud.MayAdminister, in: ofOwn},
	"whoami":               {needs: cloud.MayRead, in: ofOwn, early: true},
}
